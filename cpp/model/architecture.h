#pragma once

#include "diffusion/schedule.h"
#include "model/families.h"
#include "model/latent_rgb.h"
#include "model/model_config.h"
#include "tensor/weights.h"

#include <optional>
#include <string>
#include <vector>

namespace magicmix {

struct TextEncoderConfig {
    std::string prefix; ///< of its tensors
    int width = 0, layers = 0, heads = 0, hidden = 0, vocabulary = 0;
    bool exactGelu = false;   ///< OpenCLIP's; CLIP has the quick one
    std::int32_t padding = 0; ///< token id behind the end of a prompt
};

struct UNetConfig {
    std::vector<int> channels;   ///< by level, from fine to coarse
    std::vector<int> heads;      ///< by level
    std::vector<bool> attention; ///< does the level have transformers?
    int layers = 0;              ///< ResBlocks per level on the way down; one more on the way up
    bool middle = true;          ///< distilled models have no blocks in the middle
    int contextWidth = 0;
    int normGroups = 32;
};

struct AutoencoderConfig {
    std::vector<int> channels; ///< by level, from fine to coarse
    int layers = 0;            ///< ResBlocks per level in the encoder; one more in the decoder
    int normGroups = 32;
    double scalingFactor = 0;
    std::vector<double> latentRgb = kStableDiffusionLatentRgb; ///< see model/latent_rgb.h
};

struct TinyDecoderConfig {
    struct Level {
        int channels = 0, blocks = 0;
    };
    std::vector<Level> levels; ///< from coarse to fine
    double scalingFactor = 1;
};

/// Everything that is needed to build a model's networks.
struct Architecture {
    const Family *family = nullptr;
    TextEncoderConfig text;
    UNetConfig unet;
    AutoencoderConfig vae;
    std::optional<TinyDecoderConfig> tinyDecoder; ///< if there is one
    /// Its prediction is empty if nothing declares it: model/probe.h finds it out.
    Schedule schedule;
    std::optional<int> sampleSize; ///< side in cells of the latents of training, where declared

    /// Side in pixels of the pictures that it was trained on.
    int nativeSize() const;
};

/// Sizes from the shapes of tensors; heads, groups and factors from `config`, else from what the
/// family is known to have.
/// Throws `MODEL_FORMAT`, `MODEL_UNSUPPORTED`, and `CONFIG_NEEDED` where nothing says them.
Architecture deduceArchitecture(const WeightSource &source, const ModelConfig &config);

} // namespace magicmix
