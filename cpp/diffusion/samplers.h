#pragma once

#include "diffusion/sampler.h"
#include "diffusion/schedule.h"

#include <memory>
#include <string>
#include <vector>

namespace magicmix {

struct SamplerOptions {
    std::string name = "ddim"; ///< one of `samplerNames`
    int steps = 50;            ///< 1..999; of lcm and tcd at most 50
    /// "leading", "trailing", "linspace"; "karras" for dpm++2m; "" for that of the schedule.
    std::string spacing;
    double eta = 0;     ///< of ddim, 0..1: fresh noise in every step
    double gamma = 0.3; ///< of tcd, 0..1: the same
};

std::vector<std::string> samplerNames();

/// Where the steps lead. Throws `INVALID_ARGUMENT` for a name that is not known, and for options
/// that the sampler does not have.
Levels samplerLevels(const SamplerOptions &options, const Schedule &schedule);
/// `noise` outlives the sampler. Throws the same, and what the constructor of `Sampler` throws.
std::unique_ptr<Sampler> makeSampler(const SamplerOptions &options, const Schedule &schedule,
                                     StepNoise &noise);

} // namespace magicmix
