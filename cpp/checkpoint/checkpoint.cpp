#include "checkpoint/checkpoint.h"

#include "checkpoint/diffusers.h"
#include "checkpoint/model_file.h"

#include <algorithm>
#include <filesystem>
#include <set>

namespace magicmix {
namespace {

constexpr const char *kUnet = "model.diffusion_model.";
constexpr const char *kVae = "first_stage_model.";
constexpr const char *kText = "cond_stage_model.transformer.text_model.";

constexpr std::size_t kMaxNameBytes = 128;

bool startsWith(const std::string &text, const std::string &prefix) {
    return text.rfind(prefix, 0) == 0;
}

/// Networks that are not Stable Diffusion 1.x are told by names that only they have.
void refuseOtherFamilies(const StoredTensors &tensors, const std::string &path) {
    const std::pair<const char *, const char *> families[] = {
        {"conditioner.embedders.", "Stable Diffusion XL"},
        {"cond_stage_model.model.", "Stable Diffusion 2.x"},
        {"model.diffusion_model.joint_blocks.", "Stable Diffusion 3"},
        {"model.diffusion_model.double_blocks.", "Flux"},
        {"double_blocks.", "Flux"},
        {"lora_unet_", "a LoRA, not a whole model"},
        {"lora_te_", "a LoRA, not a whole model"},
    };
    for (const auto &[prefix, family] : families) {
        const auto found = tensors.lower_bound(prefix);
        if (found != tensors.end() && startsWith(found->first, prefix)) {
            throw Error("MODEL_UNSUPPORTED",
                        "'" + path + "' holds " + family + " (tensor '" + found->first +
                            "'); only Stable Diffusion 1.x can be mixed with",
                        {{"family", family}, {"tensor", found->first}, {"path", path}});
        }
    }
}

/// The original name as the networks use it, or "" for what mixing does not need.
std::string normalised(const std::string &name) {
    const std::string oldText = "cond_stage_model.transformer.";
    std::string result = name;
    // Some tools save the text encoder without its inner prefix.
    if (startsWith(name, oldText) && !startsWith(name, kText)) {
        result = kText + name.substr(oldText.size());
    }
    const bool ours =
        startsWith(result, kUnet) || startsWith(result, kVae) || startsWith(result, kText);
    const bool counts = result.size() > 12 && result.find("position_ids") != std::string::npos;
    return ours && !counts ? result : "";
}

} // namespace

Checkpoint Checkpoint::open(const std::string &path) {
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
        const DiffusersFolder folder = readDiffusersFolder(path);
        const OriginalNames names(folder);
        checkpoint.config_ = folder.config;
        add(folder.unet, kUnet, [&](const auto &name) { return names.unet(name); });
        add(folder.vae, kVae, [&](const auto &name) { return names.vae(name); });
        add(folder.textEncoder, "cond_stage_model.transformer.",
            [&](const auto &name) { return names.textEncoder(name); });
        return checkpoint;
    }

    const ModelFile file = readModelFile(path);
    checkpoint.format_ = file.format;
    checkpoint.config_ = file.config;
    refuseOtherFamilies(file.tensors, path);
    add(file.tensors, "", [](const auto &name) { return name; });
    if (checkpoint.tensors_.empty()) {
        throw Error(
            "MODEL_FORMAT",
            "'" + path +
                "' has no tensor of a Stable Diffusion 1.x checkpoint (no name starts with '" +
                kUnet + "')",
            {{"path", path}});
    }
    return checkpoint;
}

std::uint64_t Checkpoint::fileBytes() const {
    std::set<const MappedFile *> files;
    std::uint64_t bytes = 0;
    for (const auto &[name, tensor] : tensors_) {
        if (files.insert(tensor.file.get()).second) bytes += tensor.file->size();
    }
    return bytes;
}

bool Checkpoint::hasAny(const std::string &prefix) const {
    const auto found = tensors_.lower_bound(prefix);
    return found != tensors_.end() && startsWith(found->first, prefix);
}

WeightSource::Values Checkpoint::read(const std::string &name) const {
    const auto found = tensors_.find(name);
    if (found == tensors_.end()) {
        throw Error("MODEL_FORMAT", "'" + path_ + "' lacks tensor '" + name + "'",
                    {{"tensor", name}, {"path", path_}});
    }
    return valuesOf(found->second);
}

void Checkpoint::release(const std::string &name) const {
    const auto found = tensors_.find(name);
    if (found != tensors_.end())
        found->second.file->release(found->second.offset, found->second.bytes);
}

} // namespace magicmix
