#include "diffusion/prediction.h"

#include <cmath>

namespace magicmix {

const char *predictionName(Prediction prediction) {
    return prediction == Prediction::Noise ? "epsilon" : "v_prediction";
}

Latent noiseOf(Prediction prediction, Latent predicted, const Latent &x, double alphaBar) {
    if (prediction == Prediction::Noise) return predicted;
    const double a = alphaBar;
    for (std::size_t k = 0; k < x.size(); k++) {
        predicted[k] = static_cast<float>(std::sqrt(a) * predicted[k] + std::sqrt(1 - a) * x[k]);
    }
    return predicted;
}

} // namespace magicmix
