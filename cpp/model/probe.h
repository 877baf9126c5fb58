#pragma once

#include "model/config.h"
#include "model/sessions.h"

namespace magicmix {

/// The ids of an empty prompt, padded as OpenCLIP does it.
std::vector<std::int32_t> emptyPrompt();

/// What a UNet predicts whose files do not tell, seen from its answer to pure noise with an empty
/// prompt at the last timestep. A latent there is noise to 99.8%: who predicts the noise returns
/// it, who predicts velocity mostly the guessed picture.
Prediction probePrediction(Device &device, Precision precision, const UNet &unet,
                           const PromptContext &empty, const Cancellation &cancel);

} // namespace magicmix
