#pragma once

#include "diffusion/prediction.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace magicmix {

/// The facts about a family of models that its files often do not declare. Adding a family begins
/// with a row in families.cpp.
struct Family {
    const char *name; ///< "sd1", "sd2", "sdxl": as users see it
    struct TextEncoder {
        const char *prefix; ///< of its tensors, see model/names.h
        int width, heads;
        const char *activation; ///< of its feed-forward layers, as config.json calls it
        std::int32_t padding;   ///< token id behind the end of a prompt
    };
    std::vector<TextEncoder> texts; ///< whose states stand side by side
    struct States {
        int clipSkip; ///< the layer behind which they are usually taken; 1 is the last
        bool normed;  ///< they go through the final norm
        /// The last encoder gives a vector of the whole prompt as well, and the UNet takes it (see
        /// model/added_conditioning.h).
        bool pooled;
        /// Those of an empty negative prompt are zeros unless the files say otherwise.
        bool zerosForEmpty;
    } states;
    struct Unet {
        int finestChannels;
        int heads;     ///< on every level, or 0
        int headWidth; ///< channels per head on every level, or 0
        /// Where nearly all models of the family predict the same: what they are taken for unless
        /// their answers say something else.
        std::optional<Prediction> usualPrediction;
        bool probed; ///< they are asked where no file says it
    } unet;
    int nativeSize;                ///< side in pixels of the pictures that it was trained on
    int nativeSizeVelocity;        ///< the same for models that predict velocity
    double scalingFactor;          ///< of latents
    std::vector<double> latentRgb; ///< see model/latent_rgb.h

    int contextWidth() const;
};

const std::vector<Family> &families();

/// The text encoder of that width at that place in a family. Null if none has such a one.
const Family::TextEncoder *textEncoderOfWidth(int width, std::size_t place);
/// By the channels of a UNet's finest level, and the width of its context. Null likewise.
const Family *familyOfUnet(int finestChannels, int contextWidth);

} // namespace magicmix
