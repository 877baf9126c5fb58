#include "diffusion/guidance.h"

namespace magicmix {

Latent guide(const Latent &unconditional, const Latent &conditional, double guidanceScale) {
    const auto g = static_cast<float>(guidanceScale);
    Latent eps(conditional.size());
    for (std::size_t k = 0; k < eps.size(); k++) {
        eps[k] = unconditional[k] + g * (conditional[k] - unconditional[k]);
    }
    return eps;
}

} // namespace magicmix
