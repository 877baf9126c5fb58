#pragma once

#include "diffusion/levels.h"

namespace magicmix {

/// DDIM (Song et al. 2021), equations 12 and 16: a step goes from t to t - floor(T / N), behind the
/// last to the schedule's final level, as diffusers' DDIMScheduler has it. `eta` 0 is
/// deterministic, 1 as noisy as DDPM.
Levels ddimLevels(const Schedule &schedule, int steps, double eta = 0);

} // namespace magicmix
