#pragma once

#include "diffusion/prediction.h"
#include "model/declared_config.h"
#include "model/latent_rgb.h"
#include "tensor/weights.h"

#include <optional>
#include <string>
#include <vector>

namespace magicmix {

/// What a single file cannot tell; each wins over the model's own config.json.
struct ConfigOverrides {
    std::optional<int> unetHeads;              ///< attention heads of the UNet, on every level
    std::optional<int> unetHeadWidth;          ///< or channels of each of them, on every level
    std::optional<std::string> unetPrediction; ///< "epsilon" or "v_prediction"
    std::optional<int> unetNormGroups;         ///< default 32
    std::optional<int> textEncoderHeads;       ///< attention heads of the text encoder
    std::optional<int> vaeNormGroups;          ///< default 32
    std::optional<double> vaeScalingFactor;    ///< default 0.18215
};

struct TextEncoderConfig {
    int width = 0, layers = 0, heads = 0, hidden = 0, vocabulary = 0;
    bool exactGelu = false; ///< OpenCLIP's; CLIP has the quick one
};

struct UNetConfig {
    std::vector<int> channels;   ///< by level, from fine to coarse
    std::vector<int> heads;      ///< by level
    std::vector<bool> attention; ///< does the level have transformers?
    int layers = 0;              ///< ResBlocks a level on the way down; one more on the way up
    int contextWidth = 0;
    int normGroups = 32;
    /// Empty if neither files nor caller tell: model/probe.h finds it out.
    std::optional<Prediction> prediction;
    std::optional<int> declaredSampleSize;

    /// Side of the latents that it was trained on.
    int sampleSize() const;
};

struct AutoencoderConfig {
    std::vector<int> channels; ///< by level, from fine to coarse
    int layers = 0;            ///< ResBlocks a level in the encoder; one more in the decoder
    int normGroups = 32;
    double scalingFactor = 0.18215;
    std::vector<double> latentRgb = kStableDiffusionLatentRgb; ///< see mix/preview.h
};

struct ModelConfig {
    std::string family; ///< "sd1" or "sd2"
    TextEncoderConfig text;
    UNetConfig unet;
    AutoencoderConfig vae;
};

/// Sizes from the shapes of tensors; heads, groups and factors from the caller, else from the
/// model's own configuration, else from what Stable Diffusion is known to have.
/// Throws `MODEL_FORMAT`, `MODEL_UNSUPPORTED`, and `CONFIG_NEEDED` where nothing tells.
ModelConfig deduceConfig(const WeightSource &source, const DeclaredConfig &declared,
                         const ConfigOverrides &overrides);

} // namespace magicmix
