#pragma once

#include "declared_config.h"
#include "diffusion/prediction.h"
#include "engine.h"
#include "mix/preview.h"
#include "tensor/weights.h"

#include <vector>

namespace magicmix {

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
