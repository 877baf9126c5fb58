#include "checkpoint/bundled_embeddings.h"

#include "base/error.h"
#include "base/text.h"

#include <algorithm>

namespace magicmix {
namespace {

const std::string kPrefix = "bundle_emb.";
// As the files of embeddings that were bundled call the vectors, with a dot before.
const std::string kVectors[] = {".clip_l", ".string_to_param.*", ".emb_params"};
const std::string kSecond = ".clip_g"; // of XL's second text encoder, beside the first's

/// "bundle_emb.NAME.clip_l": NAME.
std::string nameOf(const std::string &tensor, const std::string &path) {
    const auto refuse = [&](const std::string &why) {
        throw Error("MODEL_UNSUPPORTED", "'" + path + "' has the tensor '" + tensor + "', " + why,
                    {{"path", path}, {"tensor", tensor}});
    };
    for (const auto &end : kVectors) {
        if (!endsWith(tensor, end) || tensor.size() <= kPrefix.size() + end.size()) continue;
        const std::string name =
            tensor.substr(kPrefix.size(), tensor.size() - kPrefix.size() - end.size());
        const bool control = std::any_of(
            name.begin(), name.end(), [](char c) { return static_cast<unsigned char>(c) < ' '; });
        if (control) refuse("whose name cannot stand in a prompt");
        return name;
    }
    if (endsWith(tensor, kSecond)) {
        refuse(
            "half of an embedding for Stable Diffusion XL, without NAME.clip_l for the first text "
            "encoder");
    }
    refuse("which no embedding that a LoRA brings along has; they are called " + kPrefix +
           "NAME.clip_l");
    return "";
}

/// The first of the two has the name.
bool isSecond(const StoredTensors &tensors, const std::string &tensor) {
    if (!endsWith(tensor, kSecond)) return false;
    const std::string stem = tensor.substr(0, tensor.size() - kSecond.size());
    return tensors.count(stem + kVectors[0]) > 0;
}

} // namespace

bool isOfBundledEmbedding(const std::string &tensor) { return startsWith(tensor, kPrefix); }

std::vector<std::string> bundledEmbeddings(const StoredTensors &tensors, const std::string &path) {
    std::vector<std::string> names;
    for (const auto &[tensor, stored] : tensors) {
        if (!isOfBundledEmbedding(tensor) || isSecond(tensors, tensor)) continue;
        const std::string name = nameOf(tensor, path);
        if (std::find(names.begin(), names.end(), name) != names.end()) {
            throw Error("MODEL_FORMAT",
                        "'" + path + "' brings two embeddings with the name '" + name + "'",
                        {{"path", path}, {"tensor", tensor}});
        }
        names.push_back(name);
    }
    return names;
}

const StoredTensor *bundledVectors(const StoredTensors &tensors, const std::string &name,
                                   bool second) {
    if (second) {
        const auto found = tensors.find(kPrefix + name + kSecond);
        return found == tensors.end() ? nullptr : &found->second;
    }
    for (const auto &end : kVectors) {
        const auto found = tensors.find(kPrefix + name + end);
        if (found != tensors.end()) return &found->second;
    }
    return nullptr;
}

} // namespace magicmix
