#include "model/families.h"

#include "base/tokens.h"
#include "model/latent_rgb.h"
#include "model/names.h"

namespace magicmix {
namespace {

constexpr std::int32_t kExclamationMark = 0; // OpenCLIP pads with the first token of the vocabulary

} // namespace

const std::vector<Family> &families() {
    static const std::vector<Family> all = {
        {"sd1",
         {{kTransformersPrefix, 768, 12, "quick_gelu", kEndOfText}},
         {1, true, false, false},
         {320, 8, 0, Prediction::Noise, true},
         512,
         512,
         0.18215,
         kStableDiffusionLatentRgb},
        // 2.0 and 2.1 at 512 predict the noise, at 768 velocity. Its files have the states behind
        // the last layer but one as those behind the last.
        {"sd2",
         {{kTransformersPrefix, 1024, 16, "gelu", kExclamationMark}},
         {1, true, false, false},
         {320, 0, 64, std::nullopt, true},
         512,
         768,
         0.18215,
         kStableDiffusionLatentRgb},
        // Its models that predict velocity say so.
        {"sdxl",
         {{kXlFirstPrefix, 768, 12, "quick_gelu", kEndOfText},
          {kXlSecondPrefix, 1280, 20, "gelu", kExclamationMark}},
         {2, false, true, true},
         {320, 0, 64, Prediction::Noise, false},
         1024,
         1024,
         0.13025,
         kXlLatentRgb},
    };
    return all;
}

int Family::contextWidth() const {
    int width = 0;
    for (const TextEncoder &text : texts) width += text.width;
    return width;
}

const Family::TextEncoder *textEncoderOfWidth(int width, std::size_t place) {
    for (const Family &family : families()) {
        if (place < family.texts.size() && family.texts[place].width == width) {
            return &family.texts[place];
        }
    }
    return nullptr;
}

const Family *familyOfUnet(int finestChannels, int contextWidth) {
    for (const Family &family : families()) {
        if (finestChannels == family.unet.finestChannels && contextWidth == family.contextWidth()) {
            return &family;
        }
    }
    return nullptr;
}

} // namespace magicmix
