#pragma once

#include "diffusion/prediction.h"

#include <cstdint>
#include <optional>
#include <string>

namespace magicmix {

/// The facts about a family of models that its files often do not declare. Adding a family begins
/// with a row in families.cpp.
struct Family {
    const char *name; ///< "sd1", "sd2": as users see it
    struct TextEncoder {
        const char *prefix;
        int width, heads;
        const char *activation; ///< of its feed-forward layers, as config.json calls it
        std::int32_t padding;   ///< token id behind the end of a prompt
    } text;
    struct Unet {
        int finestChannels;
        int heads;     ///< on every level, or 0
        int headWidth; ///< channels per head on every level, or 0
        /// Where nearly all models of the family predict the same: what they are taken for unless
        /// their answers say something else.
        std::optional<Prediction> usualPrediction;
    } unet;
    int nativeSize;         ///< side in pixels of the pictures that it was trained on
    int nativeSizeVelocity; ///< the same for models that predict velocity
    double scalingFactor;   ///< of latents
};

/// Families differ in their text encoders. Null if no family has such a one.
const Family *familyOfActivation(const std::string &activation);
const Family *familyOfTextWidth(int width);
/// By the channels of a UNet's finest level, and the width of its context.
const Family *familyOfUnet(int finestChannels, int contextWidth);

} // namespace magicmix
