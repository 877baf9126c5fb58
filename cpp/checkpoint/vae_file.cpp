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

/// What has no original name is left over.
VaeFile renamed(const StoredTensors &tensors, const VaeNaming &originalName) {
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

VaeFile readFolder(const std::string &path, const Cancellation &cancel) {
    const DiffusersVae folder = readDiffusersVae(path, cancel);
    if (!vaeNaming(folder.tensors)) {
        throw Error("MODEL_FORMAT", "'" + path + "' has no tensors of an autoencoder (VAE)",
                    {{"path", path}});
    }
    VaeFile vae = renamed(folder.tensors, vaeNaming(folder.tensors));
    vae.config = folder.config;
    return vae;
}

VaeFile readFile(const std::string &path, const Cancellation &cancel) {
    const ModelFile file = readModelFile(path, cancel);
    const bool whole = hasPrefix(file.tensors, kVaePrefix);
    const StoredTensors tensors = whole ? vaeOf(file.tensors) : file.tensors;
    const VaeNaming naming = vaeNaming(tensors);
    if (!naming) {
        throw Error("MODEL_FORMAT",
                    "'" + path +
                        "' has no autoencoder (VAE): no tensor is called 'decoder.up...', with or "
                        "without '" +
                        kVaePrefix + "' before it",
                    {{"path", path}});
    }
    VaeFile vae = renamed(tensors, naming);
    vae.config = file.config.vae;
    return vae;
}

} // namespace

VaeNaming vaeNaming(const StoredTensors &tensors) {
    if (hasPrefix(tensors, "decoder.up_blocks.")) {
        return [names = vaeNames(vaeLevels(tensors))](const std::string &name) {
            return names.original(name);
        };
    }
    if (hasPrefix(tensors, "decoder.up.")) return vaeOriginalName;
    return nullptr;
}

StoredTensors vaeOf(const StoredTensors &tensors) {
    StoredTensors vae;
    for (const auto &[name, tensor] : tensors) {
        if (const auto rest = after(name, kVaePrefix)) vae.emplace(*rest, tensor);
    }
    return vae;
}

VaeFile readVae(const std::string &path, const Cancellation &cancel) {
    std::error_code ignored;
    const bool folder = std::filesystem::is_directory(std::filesystem::u8path(path), ignored);
    return folder ? readFolder(path, cancel) : readFile(path, cancel);
}

} // namespace magicmix
