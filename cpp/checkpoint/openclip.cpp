#include "checkpoint/openclip.h"

#include "base/error.h"
#include "base/text.h"
#include "model/names.h"

#include <algorithm>
#include <regex>

namespace magicmix {
namespace {

const std::string kText = kTextPrefix;

const std::map<std::string, std::string> kOuter = {
    {"token_embedding.weight", "embeddings.token_embedding.weight"},
    {"positional_embedding", "embeddings.position_embedding.weight"},
    {"ln_final.weight", "final_layer_norm.weight"},
    {"ln_final.bias", "final_layer_norm.bias"},
};

const std::map<std::string, std::string> kParts = {
    {"ln_1", "layer_norm1"}, {"ln_2", "layer_norm2"},   {"attn.out_proj", "self_attn.out_proj"},
    {"mlp.c_fc", "mlp.fc1"}, {"mlp.c_proj", "mlp.fc2"},
};

/// 1: number of the layer; 2: what follows.
const std::regex &layerPattern() {
    static const std::regex pattern(R"(transformer\.resblocks\.(\d{1,3})\.(.+))");
    return pattern;
}

/// in_proj_weight and in_proj_bias have the rows of queries, keys and values, in that order.
StoredTensors splitProjection(const StoredTensor &fused, const std::string &layer,
                              const std::string &kind) {
    StoredTensors parts;
    const char *projections[] = {"q", "k", "v"};
    for (int i = 0; i < 3; i++) {
        parts.emplace(layer + "self_attn." + projections[i] + "_proj." + kind,
                      partOfRows(fused, i, 3));
    }
    return parts;
}

/// One tensor of a text encoder under its new names: one, or three, or none if it has no part in
/// text states. `name` is what follows the prefix.
StoredTensors renamed(const StoredTensor &stored, const std::string &name) {
    const auto outer = kOuter.find(name);
    if (outer != kOuter.end()) return {{kText + outer->second, stored}};

    std::smatch match;
    // No tensor of ours has a longer name; long ones are not worth a regular expression.
    if (name.size() >= 128 || !std::regex_match(name, match, layerPattern())) return {};
    const std::string layer = kText + "encoder.layers." + match[1].str() + ".", rest = match[2];
    if (rest == "attn.in_proj_weight") return splitProjection(stored, layer, "weight");
    if (rest == "attn.in_proj_bias") return splitProjection(stored, layer, "bias");
    const std::size_t dot = std::min(rest.rfind('.'), rest.size());
    const auto part = kParts.find(rest.substr(0, dot));
    if (part == kParts.end()) return {};
    return {{layer + part->second + rest.substr(dot), stored}};
}

} // namespace

bool hasOpenClipText(const StoredTensors &tensors) {
    const auto found = tensors.lower_bound(kOpenClipPrefix);
    return found != tensors.end() && startsWith(found->first, kOpenClipPrefix);
}

StoredTensors withTransformersNames(const StoredTensors &tensors) {
    StoredTensors result;
    for (const auto &[name, tensor] : tensors) {
        StoredTensors parts;
        if (startsWith(name, kOpenClipPrefix))
            parts = renamed(tensor, name.substr(std::string(kOpenClipPrefix).size()));
        if (parts.empty()) parts = {{name, tensor}};
        for (const auto &[newName, part] : parts) {
            if (result.emplace(newName, part).second) continue;
            throw Error("MODEL_FORMAT",
                        "'" + tensor.file->path() + "' has two tensors for '" + newName +
                            "', one called '" + name + "'",
                        {{"tensor", name}});
        }
    }
    return result;
}

} // namespace magicmix
