#pragma once

#include "base/latent.h"

namespace magicmix {

/// eps_uncond + g (eps_cond - eps_uncond) (Ho and Salimans 2022)
Latent guide(const Latent &unconditional, const Latent &conditional, double guidanceScale);

} // namespace magicmix
