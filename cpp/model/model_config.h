#pragma once

#include "diffusion/schedule.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace magicmix {

/// A token that a model learnt beside CLIP's; its vector is a row of the token table.
struct AddedToken {
    std::string text;
    std::int32_t id = 0;
    bool anyCase = false;   ///< found in upper and lower case alike
    bool wholeWord = false; ///< not found inside of a longer word
};

/// Declarations about a model beside its weights, by its files or by the caller: everything that
/// shapes of tensors do not show. Files of diffusers, GGUF and safetensors fill it in checkpoint/.
struct ModelConfig {
    struct Unet {
        std::vector<int> heads;                ///< one number, or one per level
        std::optional<int> headWidth;          ///< channels per head, if it is that and not `heads`
        std::optional<std::string> prediction; ///< "epsilon" or "v_prediction"
        std::optional<int> normGroups;
        std::optional<int> sampleSize; ///< side of the latents that it was trained on, in cells
        // What the shapes show as well; a model whose files disagree is refused.
        std::vector<int> channels;
        std::optional<int> layers, contextWidth, addedWidth;
        std::optional<int> middleResBlocks;
        /// Blocks of the transformers: a number per level, from fine to coarse, or one per
        /// ResBlock of it, on the way down; on the way up where it differs.
        std::vector<std::vector<int>> depthsDown, depthsUp;
    } unet;
    struct TextEncoder {
        std::optional<int> heads;
        std::optional<int> layers;             ///< of those in the file, how many are run
        std::optional<std::string> activation; ///< "quick_gelu" or "gelu"
        /// Token id behind the end of a prompt, of the second; the first has the tokenizer's.
        std::optional<std::int32_t> padding;

        TextEncoder overriddenBy(const TextEncoder &other) const;
    };
    TextEncoder textEncoder, textEncoder2; ///< the second only of families with two
    struct Tokenizer {
        std::optional<std::int32_t> padding; ///< token id behind the end of a prompt
        std::vector<AddedToken> added;       ///< behind CLIP's own, by id
    } tokenizer;
    struct Vae {
        std::optional<int> normGroups;
        std::optional<double> scalingFactor;
        std::vector<double> latentRgb; ///< as in AutoencoderConfig; empty if not declared
        std::vector<int> channels;     ///< shapes show these two as well
        std::optional<int> layers;

        Vae overriddenBy(const Vae &other) const;
    } vae;
    /// Of the file that `ModelFiles` names for it.
    struct TinyDecoder {
        std::optional<double> scalingFactor;
        // What the shapes show as well.
        std::optional<int> latentChannels;
        std::vector<int> channels, blocks; ///< by level, from coarse to fine
    } tinyDecoder;

    /// See `Family::States`.
    std::optional<bool> zerosForEmptyPrompt;

    /// Of the training; its prediction is `unet.prediction`.
    std::optional<Schedule> schedule;

    /// The same, with everything that `caller` says in its place.
    ModelConfig overriddenBy(const ModelConfig &caller) const;
};

} // namespace magicmix
