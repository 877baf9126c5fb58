#pragma once

#include "base/latent.h"

namespace magicmix {

/// The prediction that a UNet was trained for, from a noised latent x = sqrt(a) clean + sqrt(1 - a)
/// noise.
enum class Prediction {
    Noise,    ///< "epsilon"
    Velocity, ///< "v_prediction": sqrt(a) noise - sqrt(1 - a) clean (Salimans and Ho 2022)
};

const char *predictionName(Prediction prediction);

/// What a predicted value says of the value x of a noised latent, a being alpha-bar at its
/// timestep. Both are linear in the prediction, and a prediction that is guided stays one: they may
/// be taken after guidance.
struct Denoised {
    double clean, noise;

    Denoised(Prediction prediction, double predicted, double x, double a);
};

/// The noise in `x`, whatever was predicted.
Latent noiseOf(Prediction prediction, Latent predicted, const Latent &x, double alphaBar);

} // namespace magicmix
