#include "convert/rules.h"

#include "base/error.h"
#include "base/text.h"
#include "model/names.h"
#include "tensor/conversion.h"

#include <algorithm>
#include <array>
#include <cctype>

namespace magicmix {
namespace {

constexpr std::array<ggml_type, 13> kTypes = {
    GGML_TYPE_F32,  GGML_TYPE_F16,  GGML_TYPE_BF16, GGML_TYPE_Q8_0, GGML_TYPE_Q6_K,
    GGML_TYPE_Q5_K, GGML_TYPE_Q5_1, GGML_TYPE_Q5_0, GGML_TYPE_Q4_K, GGML_TYPE_Q4_1,
    GGML_TYPE_Q4_0, GGML_TYPE_Q3_K, GGML_TYPE_Q2_K};

bool isSensitive(const std::string &name) {
    return contains(name, "embedding") || contains(name, kVaePrefix) ||
           contains(name, ".time_embed.") || contains(name, ".label_emb.") ||
           contains(name, ".input_blocks.0.0.") || contains(name, ".diffusion_model.out.");
}

/// 16 bits for what is not quantised: those that it has, if it has them.
ggml_type halfOf(ggml_type stored) {
    return stored == GGML_TYPE_BF16 ? GGML_TYPE_BF16 : GGML_TYPE_F16;
}

/// With blocks of 32, for rows that do not divide into blocks of 256.
ggml_type smallBlocks(ggml_type wanted) {
    switch (wanted) {
    case GGML_TYPE_Q2_K:
    case GGML_TYPE_Q3_K: return GGML_TYPE_Q4_0;
    case GGML_TYPE_Q4_K: return GGML_TYPE_Q5_0;
    case GGML_TYPE_Q5_K: return GGML_TYPE_Q5_1;
    case GGML_TYPE_Q6_K: return GGML_TYPE_Q8_0;
    default: return wanted;
    }
}

} // namespace

ggml_type parseStoredType(const std::string &name) {
    std::string known;
    for (const ggml_type type : kTypes) {
        if (storedTypeName(type) == name) return type;
        known += (known.empty() ? "" : ", ") + storedTypeName(type);
    }
    throw Error("INVALID_ARGUMENT", "type '" + name + "' is unknown; known: " + known,
                {{"type", name}});
}

std::string storedTypeName(ggml_type type) {
    std::string name = ggml_type_name(type);
    std::transform(name.begin(), name.end(), name.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return name;
}

ggml_type typeToStore(const std::string &name, const std::vector<std::int64_t> &shape,
                      ggml_type stored, ggml_type wanted, Layout layout) {
    if (wanted == GGML_TYPE_F32) return wanted;
    if (shape.size() < 2) return isQuantised(stored) ? GGML_TYPE_F32 : stored;
    if (!isQuantised(wanted)) return wanted;
    if (isSensitive(name)) return halfOf(stored);
    if (layout == Layout::Common && shape.size() > 2) return halfOf(stored);

    std::int64_t row = 1;
    for (std::size_t i = 1; i < shape.size(); i++) row *= shape[i];
    for (const ggml_type type : {wanted, smallBlocks(wanted)}) {
        if (row % blockSize(type).values == 0) return type;
    }
    return halfOf(stored);
}

} // namespace magicmix
