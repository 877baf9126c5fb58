#include "model/families.h"

#include "base/tokens.h"
#include "model/names.h"

namespace magicmix {
namespace {

const Family kFamilies[] = {
    {"sd1",
     {kTextPrefix, 768, 12, "quick_gelu", kEndOfText},
     {320, 8, 0, Prediction::Noise},
     512,
     512,
     0.18215},
    // 2.0 and 2.1 at 512 predict the noise, at 768 velocity.
    {"sd2", {kTextPrefix, 1024, 16, "gelu", 0}, {320, 0, 64, std::nullopt}, 512, 768, 0.18215},
};

template <typename Matches>
const Family *find(const Matches &matches) {
    for (const Family &family : kFamilies) {
        if (matches(family)) return &family;
    }
    return nullptr;
}

} // namespace

const Family *familyOfActivation(const std::string &activation) {
    return find([&](const Family &family) { return activation == family.text.activation; });
}

const Family *familyOfTextWidth(int width) {
    return find([&](const Family &family) { return width == family.text.width; });
}

const Family *familyOfUnet(int finestChannels, int contextWidth) {
    return find([&](const Family &family) {
        return finestChannels == family.unet.finestChannels && contextWidth == family.text.width;
    });
}

} // namespace magicmix
