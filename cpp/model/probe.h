#pragma once

#include "model/architecture.h"
#include "model/sessions.h"

namespace magicmix {

/// Detects the prediction type of a UNet whose files do not declare it, from its answer to pure
/// noise with an empty prompt at the last timestep. A latent there is 99.8% noise: an epsilon model
/// returns its input, a v model mostly the picture that it guesses. `usual` is what it is taken for
/// if it answers like neither; without it there is nothing but the two kinds.
Prediction probePrediction(const Placed<UNet> &unet, const PromptContext &empty,
                           std::optional<Prediction> usual, const Cancellation &cancel);

} // namespace magicmix
