#pragma once

#include "diffusion/schedule.h"

#include <optional>
#include <string>
#include <vector>

namespace magicmix {

/// Declarations about a model beside its weights, by its files or by the caller: everything that
/// shapes of tensors do not show. Files of diffusers, GGUF and safetensors fill it in checkpoint/.
struct ModelConfig {
    struct Unet {
        std::vector<int> heads;                ///< one number, or one per level
        std::optional<int> headWidth;          ///< channels per head, if it is that and not `heads`
        std::optional<std::string> prediction; ///< "epsilon" or "v_prediction"
        std::optional<int> normGroups;
        std::optional<int> sampleSize; ///< side of the latents that it was trained on, in cells
    } unet;
    struct TextEncoder {
        std::optional<int> heads;
        std::optional<std::string> activation; ///< "quick_gelu" or "gelu"
    } textEncoder;
    struct Vae {
        std::optional<int> normGroups;
        std::optional<double> scalingFactor;
        std::vector<double> latentRgb; ///< as in AutoencoderConfig; empty if not declared
    } vae;

    /// Of the training; its prediction is `unet.prediction`.
    std::optional<Schedule> schedule;

    /// The same, with everything that `caller` says in its place.
    ModelConfig overriddenBy(const ModelConfig &caller) const;
};

} // namespace magicmix
