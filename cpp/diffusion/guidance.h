#pragma once

#include "base/latent.h"

#include <vector>

namespace magicmix {

/// eps_uncond + g (eps_cond - eps_uncond) (Ho and Salimans 2022)
Latent guide(const Latent &unconditional, const Latent &conditional, double guidanceScale);

/// sum of w_k eps_k over as many predictions as there are weights, from the first on (Liu et al.
/// 2022, arXiv 2206.01714): several prompts as one. One of weight 1 comes through bit for bit.
Latent weightedSum(const std::vector<Latent> &predictions, std::size_t first,
                   const std::vector<double> &weights);

} // namespace magicmix
