#include "checkpoint/openclip.h"

#include "base/error.h"
#include "base/text.h"
#include "model/names.h"

#include <algorithm>
#include <cstring>
#include <regex>
#include <utility>

namespace magicmix {
namespace {

/// Where OpenCLIP's names stand in original files, and where those of transformers belong.
struct Place {
    const char *openClip, *transformers;
};
constexpr Place kPlaces[] = {{kOpenClipPrefix, kTransformersPrefix},
                             {kXlOpenClipPrefix, kXlSecondPrefix}};

// stable-diffusion.cpp has the two text encoders of XL where 1.x has its one.
constexpr std::pair<const char *, const char *> kForeignPrefixes[] = {
    {"cond_stage_model.1.", "conditioner.embedders.1."},
    {"cond_stage_model.transformer.", kXlFirstPrefix},
};

const std::map<std::string, std::string> kOuter = {
    {"token_embedding.weight", "embeddings.token_embedding.weight"},
    {"positional_embedding", "embeddings.position_embedding.weight"},
    {"ln_final.weight", "final_layer_norm.weight"},
    {"ln_final.bias", "final_layer_norm.bias"},
};
const std::string kProjection = "text_projection";
constexpr const char *kFused[] = {"q", "k", "v"};

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
/// `layer` is where the layer's names begin.
StoredTensors splitProjection(const StoredTensor &fused, const std::string &layer,
                              const std::string &kind) {
    StoredTensors parts;
    for (int i = 0; i < 3; i++) {
        parts.emplace(layer + "self_attn." + kFused[i] + "_proj." + kind, partOfRows(fused, i, 3));
    }
    return parts;
}

/// One tensor of a text encoder under its new names: one, or three, or none if it has no part in
/// text states. `name` is what follows OpenCLIP's prefix.
StoredTensors renamed(const StoredTensor &stored, const std::string &name, const Place &place) {
    const std::string text = std::string(place.transformers) + "text_model.";
    const auto outer = kOuter.find(name);
    if (outer != kOuter.end()) return {{text + outer->second, stored}};
    // Some programs have turned it round already, and name it as transformers does.
    const std::string projection = place.transformers + kProjection + ".weight";
    if (name == kProjection) return {{projection, transposed(stored)}};
    if (name == kProjection + ".weight") return {{projection, stored}};

    std::smatch match;
    // No tensor of ours has a longer name; long ones are not worth a regular expression.
    if (name.size() >= 128 || !std::regex_match(name, match, layerPattern())) return {};
    const std::string layer = text + "encoder.layers." + match[1].str() + ".", rest = match[2];
    if (rest == "attn.in_proj_weight") return splitProjection(stored, layer, "weight");
    if (rest == "attn.in_proj_bias") return splitProjection(stored, layer, "bias");
    const std::size_t dot = std::min(rest.rfind('.'), rest.size());
    const auto part = kParts.find(rest.substr(0, dot));
    if (part == kParts.end()) return {};
    return {{layer + part->second + rest.substr(dot), stored}};
}

/// What stable-diffusion.cpp, which renames tensors, leaves as it was: the fused projection, and
/// that of the pooled vector, which is turned as in the file that it was made of: as OpenCLIP has
/// it where the others are fused.
StoredTensors renamedHalfway(const StoredTensor &stored, const std::string &name, bool fused) {
    static const std::string fusedPart = "self_attn.in_proj.";
    static const std::string pooled = kXlSecondPrefix + ("text_model." + kProjection);
    for (const char *kind : {"weight", "bias"}) {
        if (!endsWith(name, kind)) continue;
        const std::string_view rest(name.data(), name.size() - std::strlen(kind));
        if (!endsWith(rest, fusedPart)) continue;
        return splitProjection(stored, name.substr(0, rest.size() - fusedPart.size()), kind);
    }
    if (name == pooled) {
        return {{kXlSecondPrefix + kProjection + ".weight", fused ? transposed(stored) : stored}};
    }
    return {};
}

bool hasFusedProjection(const StoredTensors &tensors) {
    return std::any_of(tensors.begin(), tensors.end(), [](const auto &entry) {
        return contains(entry.first, "self_attn.in_proj.");
    });
}

std::string withUsualPrefix(const std::string &name) {
    for (const auto &[theirs, usual] : kForeignPrefixes) {
        if (const auto rest = after(name, theirs)) return usual + *rest;
    }
    return name;
}

} // namespace

bool hasOpenClipText(const StoredTensors &tensors) { return hasPrefix(tensors, kOpenClipPrefix); }

StoredTensors withTransformersNames(StoredTensors tensors) {
    const bool foreign = hasPrefix(tensors, kForeignPrefixes[0].first);
    const bool fused = hasFusedProjection(tensors);
    StoredTensors result;
    // What keeps its name is moved, not copied: nearly all.
    while (!tensors.empty()) {
        auto node = tensors.extract(tensors.begin());
        const StoredTensor &tensor = node.mapped();
        const auto requireNew = [&](bool isNew, const std::string &name) {
            if (isNew) return;
            throw Error("MODEL_FORMAT",
                        "'" + tensor.file->path() + "' has two tensors for '" + name +
                            "', one called '" + tensor.name + "'",
                        {{"tensor", tensor.name}});
        };
        if (foreign) node.key() = withUsualPrefix(node.key());
        StoredTensors parts = renamedHalfway(tensor, node.key(), fused);
        for (const Place &place : kPlaces) {
            if (const auto rest = after(node.key(), place.openClip))
                parts = renamed(tensor, *rest, place);
        }
        for (const auto &[name, part] : parts) {
            requireNew(result.emplace(name, part).second, name);
        }
        if (!parts.empty()) continue;
        const auto inserted = result.insert(std::move(node));
        requireNew(inserted.inserted, inserted.position->first);
    }
    return result;
}

std::optional<OpenClipName> openClipName(const std::string &name) {
    const auto inside = after(name, kXlSecondPrefix);
    if (!inside) return std::nullopt;
    const std::string prefix = kXlOpenClipPrefix;
    if (*inside == kProjection + ".weight") return OpenClipName{prefix + kProjection, 0, 1, true};
    const auto text = after(*inside, "text_model.");
    if (!text) return std::nullopt;
    for (const auto &[ours, theirs] : kOuter) {
        if (*text == theirs) return OpenClipName{prefix + ours};
    }
    static const std::regex pattern(R"(encoder\.layers\.(\d{1,3})\.(.+)\.(weight|bias))");
    std::smatch match;
    if (text->size() >= 128 || !std::regex_match(*text, match, pattern)) return std::nullopt;
    const std::string layer = prefix + "transformer.resblocks." + match[1].str() + ".";
    const std::string part = match[2], kind = match[3];
    for (int i = 0; i < 3; i++) {
        if (part == std::string("self_attn.") + kFused[i] + "_proj") {
            return OpenClipName{layer + "attn.in_proj_" + kind, i, 3};
        }
    }
    for (const auto &[ours, theirs] : kParts) {
        if (part == theirs) return OpenClipName{layer + ours + "." + kind};
    }
    return std::nullopt;
}

} // namespace magicmix
