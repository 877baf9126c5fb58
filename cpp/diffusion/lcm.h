#pragma once

#include "diffusion/sampler.h"

namespace magicmix {

/// Multistep sampling of latent consistency models (Luo et al. 2023, algorithm 3), at N of the
/// timesteps that they were distilled at: every step predicts the picture and adds all noise anew,
///
///     D = c_out m + c_skip x,   c_skip = 0.25 / ((10 t)^2 + 0.25),   c_out = 10 t / sqrt((10 t)^2
///     + 0.25)
///
/// but the last, whose prediction is the result.
Levels lcmLevels(const Schedule &schedule, int steps);
std::unique_ptr<Sampler::Aim> lcmAim(const Levels &levels);

/// Trajectory consistency (Zheng et al. 2024, algorithm 4) at the same timesteps: a step jumps to
/// s = floor((1 - gamma) t_i+1), without noise, and adds noise up to t_i+1. gamma 0 adds none, 1
/// all of it.
Levels tcdLevels(const Schedule &schedule, int steps, double gamma);

} // namespace magicmix
