#pragma once

#include "diffusion/levels.h"

namespace magicmix {

/// Euler's method in x0 + sigma noise (Karras et al. 2022, algorithm 1, without churn): DDIM with
/// eta 0 whose steps end where the next begins, and the last at no noise at all. `ancestral`: with
/// eta 1. As diffusers' EulerDiscreteScheduler and EulerAncestralDiscreteScheduler.
Levels eulerLevels(const Schedule &schedule, int steps, bool ancestral);

} // namespace magicmix
