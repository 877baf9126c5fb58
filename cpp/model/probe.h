#pragma once

#include "model/config.h"
#include "model/text_encoder.h"
#include "model/unet.h"

namespace magicmix {

/// The correlation of what the UNet predicts from pure noise at the last timestep, given an empty
/// prompt, with that noise.
double correlationWithNoise(Device &device, Precision precision, const TextEncoder &encoder,
                            const UNet &unet, const Cancellation &cancel);

/// What a UNet predicts whose files do not tell. A latent at the last timestep is noise to 99.8%:
/// who predicts the noise returns it, who predicts velocity mostly the guessed picture.
Prediction probePrediction(Device &device, Precision precision, const TextEncoder &encoder,
                           const UNet &unet, const Cancellation &cancel);

} // namespace magicmix
