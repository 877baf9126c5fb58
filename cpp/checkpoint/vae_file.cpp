#include "checkpoint/vae_file.h"

#include "base/error.h"
#include "base/text.h"
#include "checkpoint/diffusers.h"
#include "checkpoint/model_file.h"
#include "checkpoint/names.h"
#include "model/names.h"

#include <filesystem>

namespace magicmix {
namespace {

bool hasPrefix(const StoredTensors &tensors, const std::string &prefix) {
    const auto found = tensors.lower_bound(prefix);
    return found != tensors.end() && startsWith(found->first, prefix);
}

/// What `originalName` gives no name is left over.
template <typename OriginalName>
VaeFile renamed(const StoredTensors &tensors, const OriginalName &originalName) {
    VaeFile vae;
    for (const auto &[name, tensor] : tensors) {
        const std::string original = originalName(name);
        if (original.empty()) {
            vae.leftover.push_back(name);
        } else if (!vae.tensors.emplace(kVaePrefix + original, tensor).second) {
            throw Error("MODEL_FORMAT",
                        "'" + tensor.file->path() + "' has two tensors for '" + original +
                            "', one called '" + name + "'",
                        {{"tensor", name}});
        }
    }
    return vae;
}

VaeFile withDiffusersNames(const StoredTensors &tensors) {
    const ModuleNames names = vaeNames(vaeLevels(tensors));
    return renamed(tensors, [&](const std::string &name) { return names.original(name); });
}

VaeFile readFolder(const std::string &path, const Cancellation &cancel) {
    const DiffusersVae folder = readDiffusersVae(path, cancel);
    VaeFile vae = withDiffusersNames(folder.tensors);
    vae.config = folder.config;
    return vae;
}

/// Of a file, whatever else is in it.
StoredTensors withoutPrefix(const StoredTensors &tensors) {
    StoredTensors vae;
    for (const auto &[name, tensor] : tensors) {
        if (const auto rest = after(name, kVaePrefix)) vae.emplace(*rest, tensor);
    }
    return vae;
}

VaeFile readFile(const std::string &path, const Cancellation &cancel) {
    const ModelFile file = readModelFile(path, cancel);
    const bool whole = hasPrefix(file.tensors, kVaePrefix);
    const StoredTensors tensors = whole ? withoutPrefix(file.tensors) : file.tensors;
    VaeFile vae;
    if (hasPrefix(tensors, "decoder.up_blocks.")) {
        vae = withDiffusersNames(tensors);
    } else if (hasPrefix(tensors, "decoder.up.")) {
        vae = renamed(tensors, [](const std::string &name) { return vaeOriginalName(name); });
    } else {
        throw Error("MODEL_FORMAT",
                    "'" + path +
                        "' has no autoencoder (VAE): no tensor is called 'decoder.up...', with or "
                        "without '" +
                        kVaePrefix + "' before it",
                    {{"path", path}});
    }
    vae.config = file.config.vae;
    return vae;
}

} // namespace

VaeFile readVae(const std::string &path, const Cancellation &cancel) {
    std::error_code ignored;
    const bool folder = std::filesystem::is_directory(std::filesystem::u8path(path), ignored);
    return folder ? readFolder(path, cancel) : readFile(path, cancel);
}

} // namespace magicmix
