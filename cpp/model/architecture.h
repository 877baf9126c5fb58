#pragma once

#include "diffusion/schedule.h"
#include "model/families.h"
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
    int statesAfter = 0;      ///< the number of layers that text states have passed
    bool normedStates = true; ///< they go through the final norm
    int pooledWidth = 0;      ///< of the vector of a whole prompt; 0: there is none
};

struct UNetConfig {
    std::vector<int> channels; ///< by level, from fine to coarse
    std::vector<int> heads;    ///< by level
    int layers = 0;            ///< ResBlocks per level on the way down; one more on the way up
    /// Blocks of the transformer behind a ResBlock, 0 if there is none: by level, from fine to
    /// coarse, then by ResBlock, on the way down and up.
    std::vector<std::vector<int>> depthsDown, depthsUp;
    /// In the middle are two ResBlocks with a transformer between them. Distilled models have only
    /// the first of these, or nothing.
    int middleResBlocks = 2, middleDepth = 1;
    int contextWidth = 0;
    int addedWidth = 0; ///< of the added conditioning; 0: there is none
    int normGroups = 32;
};

struct AutoencoderConfig {
    std::vector<int> channels; ///< by level, from fine to coarse
    int layers = 0;            ///< ResBlocks per level in the encoder; one more in the decoder
    int normGroups = 32;
    double scalingFactor = 0;
    std::vector<double> latentRgb; ///< see model/latent_rgb.h
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
    std::vector<TextEncoderConfig> texts; ///< as the family has them
    UNetConfig unet;
    AutoencoderConfig vae;
    std::optional<TinyDecoderConfig> tinyDecoder; ///< if there is one
    /// Its prediction is empty if nothing declares it: model/probe.h finds it out.
    Schedule schedule;
    std::optional<int> sampleSize;    ///< side in cells of the latents of training, where declared
    bool zerosForEmptyPrompt = false; ///< see `Family::States`

    /// Side in pixels of the pictures that it was trained on.
    int nativeSize() const;
    /// A tensor of a text encoder that has no part in its states and its pooled vector: behind the
    /// layer from which they are taken.
    bool isBehindStates(const std::string &tensor) const;
};

/// Sizes from the shapes of tensors; heads, groups and factors from `config`, else from what the
/// family is known to have. `clipSkip`: see `LoadOptions`.
/// Throws `MODEL_FORMAT`, `MODEL_UNSUPPORTED`, `CONFIG_NEEDED` where nothing says them, and
/// `INVALID_ARGUMENT` for a `clipSkip` beyond the layers.
Architecture deduceArchitecture(const WeightSource &source, const ModelConfig &config,
                                int clipSkip = 0);

} // namespace magicmix
