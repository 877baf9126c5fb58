#include "diffusion/prediction.h"

#include <cmath>

namespace magicmix {

const char *predictionName(Prediction prediction) {
    return prediction == Prediction::Noise ? "epsilon" : "v_prediction";
}

Denoised::Denoised(Prediction prediction, double predicted, double x, double a) {
    if (prediction == Prediction::Noise) {
        noise = predicted;
        clean = (x - std::sqrt(1 - a) * noise) / std::sqrt(a);
    } else {
        noise = std::sqrt(a) * predicted + std::sqrt(1 - a) * x;
        clean = std::sqrt(a) * x - std::sqrt(1 - a) * predicted;
    }
}

Latent noiseOf(Prediction prediction, Latent predicted, const Latent &x, double alphaBar) {
    if (prediction == Prediction::Noise) return predicted;
    for (std::size_t k = 0; k < x.size(); k++) {
        predicted[k] = static_cast<float>(Denoised(prediction, predicted[k], x[k], alphaBar).noise);
    }
    return predicted;
}

} // namespace magicmix
