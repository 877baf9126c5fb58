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

/// The noise in `x`, whatever was predicted; `alphaBar` is a at its timestep. It is linear in the
/// prediction, and a prediction that is guided stays one: the noise may be taken after guidance.
Latent noiseOf(Prediction prediction, Latent predicted, const Latent &x, double alphaBar);

} // namespace magicmix
