#include "checkpoint/checkpoint.h"

#include "base/error.h"
#include "base/text.h"
#include "checkpoint/diffusers.h"
#include "checkpoint/model_file.h"
#include "checkpoint/openclip.h"
#include "checkpoint/unsupported.h"
#include "model/names.h"

#include <algorithm>
#include <filesystem>
#include <set>

namespace magicmix {
namespace {

constexpr std::size_t kMaxNameBytes = 128;

/// The original name as the networks use it, or "" for what mixing does not need.
std::string normalised(const std::string &name) {
    const std::string oldText = kTransformersPrefix;
    std::string result = name;
    // Some tools save the text encoder without its inner prefix.
    if (startsWith(name, oldText) && !startsWith(name, kTextPrefix)) {
        result = kTextPrefix + name.substr(oldText.size());
    }
    const bool ours = startsWith(result, kUnetPrefix) || startsWith(result, kVaePrefix) ||
                      startsWith(result, kTextPrefix);
    const bool counts = result.size() > 12 && result.find("position_ids") != std::string::npos;
    return ours && !counts ? result : "";
}

} // namespace

Checkpoint Checkpoint::open(const std::string &path, const Cancellation &cancel) {
    namespace fs = std::filesystem;
    Checkpoint checkpoint;
    checkpoint.path_ = path;

    const auto add = [&](const StoredTensors &tensors, const std::string &prefix,
                         auto originalName) {
        for (const auto &[name, tensor] : tensors) {
            // No tensor of ours has a longer name; long ones are not worth a regular expression.
            const std::string original = name.size() < kMaxNameBytes ? originalName(name) : "";
            const std::string full = original.empty() ? "" : normalised(prefix + original);
            if (full.empty()) {
                checkpoint.unknown_.push_back(name);
            } else if (!checkpoint.tensors_.emplace(full, tensor).second) {
                throw Error("MODEL_FORMAT",
                            "'" + path + "' has two tensors for '" + full + "', one called '" +
                                name + "'",
                            {{"tensor", name}});
            }
        }
    };

    std::error_code ignored;
    if (fs::is_directory(fs::u8path(path), ignored)) {
        checkpoint.format_ = "diffusers";
        const DiffusersFolder folder = readDiffusersFolder(path, cancel);
        const OriginalNames names(folder);
        checkpoint.config_ = folder.config;
        add(folder.unet, kUnetPrefix, [&](const auto &name) { return names.unet(name); });
        add(folder.vae, kVaePrefix, [&](const auto &name) { return names.vae(name); });
        add(folder.textEncoder, kTransformersPrefix,
            [&](const auto &name) { return names.textEncoder(name); });
        return checkpoint;
    }

    const ModelFile file = readModelFile(path, cancel);
    checkpoint.format_ = file.format;
    checkpoint.config_ = file.config;
    refuseOtherFamilies(file.tensors, path);
    const bool openClip = hasOpenClipText(file.tensors);
    if (openClip) checkpoint.config_.textEncoder.activation = "gelu";
    add(withTransformersNames(file.tensors), "", [](const auto &name) { return name; });
    checkpoint.dropUnusedTextLayer(openClip);
    if (checkpoint.tensors_.empty()) {
        throw Error("MODEL_FORMAT",
                    "'" + path +
                        "' has no tensor of a Stable Diffusion checkpoint (no name starts with '" +
                        kUnetPrefix + "'); give a checkpoint of Stable Diffusion 1.x or 2.x",
                    {{"path", path}});
    }
    return checkpoint;
}

/// Stable Diffusion 2.x takes the states that go into the last of OpenCLIP's 24 layers. Some files
/// have that layer, others the 23 that are used.
void Checkpoint::dropUnusedTextLayer(bool openClip) {
    const auto layer = [](int n) {
        return kTextPrefix + ("encoder.layers." + std::to_string(n) + ".");
    };
    int layers = 0;
    while (hasAny(layer(layers))) layers++;
    if (layers < 2 || (openClip ? layers == 23 : layers != 24)) return;

    const std::string unused = layer(layers - 1);
    auto first = tensors_.lower_bound(unused), last = first;
    for (; last != tensors_.end() && startsWith(last->first, unused); ++last) {
        unknown_.push_back(last->second.name);
    }
    tensors_.erase(first, last);
}

void Checkpoint::requireAllNetworks() const {
    const std::pair<const char *, const char *> networks[] = {{kUnetPrefix, "a UNet"},
                                                              {kVaePrefix, "an autoencoder (VAE)"},
                                                              {kTextPrefix, "a text encoder"}};
    std::string missing;
    for (const auto &[prefix, network] : networks) {
        if (hasAny(prefix)) continue;
        missing += (missing.empty() ? "" : " and ") + std::string(network) + " (no tensor '" +
                   prefix + "...')";
    }
    if (missing.empty()) return;
    throw Error("MODEL_FORMAT",
                "'" + path_ + "' lacks " + missing +
                    "; give a whole checkpoint, with a UNet, an autoencoder and a text encoder",
                {{"path", path_}});
}

std::set<const InputFile *> Checkpoint::files() const {
    std::set<const InputFile *> files;
    for (const auto &[name, tensor] : tensors_) files.insert(tensor.file.get());
    return files;
}

std::uint64_t Checkpoint::fileBytes() const {
    std::uint64_t bytes = 0;
    for (const InputFile *file : files()) bytes += file->size();
    return bytes;
}

void Checkpoint::requireUnchanged() const {
    for (const InputFile *file : files()) file->requireUnchanged();
}

bool Checkpoint::hasAny(const std::string &prefix) const {
    const auto found = tensors_.lower_bound(prefix);
    return found != tensors_.end() && startsWith(found->first, prefix);
}

const StoredTensor &Checkpoint::tensor(const std::string &name) const {
    const auto found = tensors_.find(name);
    if (found != tensors_.end()) return found->second;
    throw Error("MODEL_FORMAT", "'" + path_ + "' lacks tensor '" + name + "'",
                {{"tensor", name}, {"path", path_}});
}

WeightSource::Description Checkpoint::describe(const std::string &name) const {
    return magicmix::describe(tensor(name));
}

WeightSource::Values Checkpoint::read(const std::string &name) const {
    return valuesOf(tensor(name));
}

} // namespace magicmix
