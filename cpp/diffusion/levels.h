#pragma once

#include "diffusion/schedule.h"

#include <vector>

namespace magicmix {

/// Where the N steps of a sampler lead. Level a is that of sqrt(a) clean + sqrt(1 - a) noise.
struct Levels {
    std::vector<double> timesteps; ///< what the network is told of state i < N; may be fractional
    std::vector<double> of;        ///< a_i of every state, N + 1
    std::vector<double> after; ///< b_i, at which step i ends: a_i+1, but for uneven steps of DDIM
    std::vector<double> fresh; ///< w_i: how much noise step i adds
    double first = 1;          ///< state 0 of a run from noise is this times the noise

    int steps() const { return static_cast<int>(timesteps.size()); }
    /// Of a sampler whose step i ends at the level of state i + 1.
    static Levels between(std::vector<double> timesteps, std::vector<double> of);
};

/// sqrt((1 - b) / (1 - a)) sqrt(1 - a / b): so much noise makes a step of DDIM one of DDPM.
double ancestralNoise(double a, double b);

/// sigma(t) = sqrt(1 / alpha-bar(t) - 1), as samplers count that think of x0 + sigma noise. A
/// schedule without any signal at its end gets sigma 4096 there.
std::vector<double> sigmas(const Schedule &schedule);
double alphaOfSigma(double sigma);
/// The table at a fractional timestep, linearly.
double interpolated(const std::vector<double> &table, double timestep);

/// The timesteps of latent consistency models: N of the fifty that they are distilled at. Throws
/// `INVALID_ARGUMENT` for more.
std::vector<int> latticeTimesteps(const Schedule &schedule, int steps, const char *sampler);

} // namespace magicmix
