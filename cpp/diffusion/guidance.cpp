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

Latent weightedSum(const std::vector<Latent> &predictions, std::size_t first,
                   const std::vector<double> &weights) {
    std::vector<double> sum(predictions[first].size(), 0.0);
    for (std::size_t p = 0; p < weights.size(); p++) {
        const Latent &prediction = predictions[first + p];
        for (std::size_t k = 0; k < sum.size(); k++) sum[k] += weights[p] * prediction[k];
    }
    return {sum.begin(), sum.end()};
}

} // namespace magicmix
