#pragma once

#include "declared_config.h"
#include "engine.h"
#include "mix/preview.h"
#include "tensor/weights.h"

#include <vector>

namespace magicmix {

struct TextEncoderConfig {
    int width = 0, layers = 0, heads = 0, hidden = 0, vocabulary = 0;
};

struct UNetConfig {
    std::vector<int> channels;   ///< by level, from fine to coarse
    std::vector<int> heads;      ///< by level
    std::vector<bool> attention; ///< does the level have transformers?
    int layers = 0;              ///< ResBlocks a level on the way down; one more on the way up
    int contextWidth = 0;
    int normGroups = 32;
    int sampleSize = 64; ///< side of the latents that it was trained on
};

struct AutoencoderConfig {
    std::vector<int> channels; ///< by level, from fine to coarse
    int layers = 0;            ///< ResBlocks a level in the encoder; one more in the decoder
    int normGroups = 32;
    double scalingFactor = 0.18215;
    std::vector<double> latentRgb = kStableDiffusionLatentRgb; ///< see mix/preview.h
};

struct ModelConfig {
    TextEncoderConfig text;
    UNetConfig unet;
    AutoencoderConfig vae;
};

/// Sizes from the shapes of tensors; heads, groups and factors from the caller, else from the
/// model's own configuration, else from what Stable Diffusion 1.x is known to have.
/// Throws `MODEL_FORMAT`, `MODEL_UNSUPPORTED`, and `CONFIG_NEEDED` where nothing tells.
ModelConfig deduceConfig(const WeightSource &source, const DeclaredConfig &declared,
                         const ConfigOverrides &overrides);

} // namespace magicmix
