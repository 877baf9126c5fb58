#include "lora/made_for.h"

#include "base/text.h"
#include "model/families.h"

#include <algorithm>

namespace magicmix {
namespace {

bool takesText(const std::string &module) {
    return contains(module, "attn2") && (endsWith(module, "to_k") || endsWith(module, "to_v"));
}

/// The length of the rows that a change is of; 0 if it is put together otherwise.
std::int64_t widthOf(const LoraChange &change) {
    if (change.method == LoraChange::Method::Kronecker) return 0;
    const Factors &factors = change.matrices.front();
    const TensorPointer &rows = factors.whole ? factors.whole : factors.down;
    return rows && rows->shape.size() > 1 ? rows->shape[1] : 0;
}

std::int64_t contextWidthOf(const LoraFile &file) {
    const auto hasTwoTexts = [](const Family &family) { return family.texts.size() > 1; };
    const auto two = std::find_if(families().begin(), families().end(), hasTwoTexts);
    for (const auto &[name, module] : file.modules) {
        if (startsWith(name, "lora_te2_") || startsWith(name, "text_encoder_2.")) {
            return two->contextWidth();
        }
        if (!takesText(name) || module.weight.empty()) continue;
        if (const auto width = widthOf(module.weight.front())) return width;
    }
    return 0;
}

} // namespace

std::string madeFor(const LoraFile &file, std::int64_t contextWidth) {
    const std::int64_t width = contextWidthOf(file);
    if (width == contextWidth) return "";
    for (const Family &family : families()) {
        if (width == family.contextWidth())
            return std::string(" (it is one for ") + family.name + ")";
    }
    return "";
}

} // namespace magicmix
