#pragma once

#include "diffusion/random.h"
#include "diffusion/sampler.h"
#include "diffusion/schedule.h"

#include <string>
#include <vector>

namespace magicmix {

struct SamplerOptions {
    std::string name = "ddim"; ///< one of `samplerNames`
    int steps = 50;            ///< 1..999
    double eta = 0;            ///< 0..1: fresh noise in every step
};

std::vector<std::string> samplerNames();

/// `generator` outlives the sampler. Throws `INVALID_ARGUMENT` for a name that is not known.
std::unique_ptr<Sampler> makeSampler(const SamplerOptions &options, const Schedule &schedule,
                                     Generator &generator);

} // namespace magicmix
