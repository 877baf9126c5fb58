#include "checkpoint/checkpoint.h"

#include "base/error.h"
#include "base/text.h"
#include "checkpoint/diffusers.h"
#include "checkpoint/model_file.h"
#include "checkpoint/names.h"
#include "checkpoint/openclip.h"
#include "checkpoint/original_config.h"
#include "checkpoint/tiny_decoder_file.h"
#include "checkpoint/unsupported.h"
#include "checkpoint/vae_file.h"
#include "model/names.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <set>

namespace magicmix {
namespace {

constexpr std::size_t kMaxNameBytes = 128;

constexpr const char *kTextPrefixes[] = {kTransformersPrefix, kXlFirstPrefix, kXlSecondPrefix};

/// What follows the prefix of a text encoder.
std::optional<std::string> inText(const std::string &name) {
    for (const char *prefix : kTextPrefixes) {
        if (auto rest = after(name, prefix)) return rest;
    }
    return std::nullopt;
}

/// Some tools save a text encoder without its inner prefix.
std::string withInnerPrefix(std::string name) {
    const auto rest = inText(name);
    if (!rest || startsWith(*rest, "text_model.") || startsWith(*rest, "text_projection")) {
        return name;
    }
    return name.substr(0, name.size() - rest->size()) + "text_model." + *rest;
}

bool isOfNetworks(const std::string &name) {
    return startsWith(name, kUnetPrefix) || startsWith(name, kVaePrefix) || inText(name);
}

/// Parts of the three networks that have no part in mixing: counters, what training needed, and
/// what CLIP compares texts with pictures by.
bool isOfNoUse(const std::string &name) {
    if (contains(name, "position_ids")) return true;
    if (startsWith(name, kVaePrefix)) {
        const auto rest = std::string_view(name).substr(std::strlen(kVaePrefix));
        return startsWith(rest, "loss.") || startsWith(rest, "model_ema.");
    }
    const auto text = inText(name);
    if (!text) return false;
    for (const char *part : {"logit_scale", "visual_projection", "vision_model."}) {
        if (startsWith(*text, part) || startsWith(*text, std::string("text_model.") + part)) {
            return true;
        }
    }
    return contains(*text, "text_projection") && !startsWith(name, kXlSecondPrefix);
}

/// An empty tensor in a file says what kind of model it is, as trainers and ComfyUI have it.
ModelConfig configOfMarkers(const StoredTensors &tensors) {
    ModelConfig config;
    if (tensors.count("v_pred") > 0) config.unet.prediction = "v_prediction";
    if (tensors.count("ztsnr") > 0) {
        config.schedule.emplace();
        config.schedule->zeroTerminalSnr = true;
    }
    return config;
}

std::string someOf(const std::vector<std::string> &names) {
    constexpr std::size_t some = 3;
    std::string text;
    for (std::size_t i = 0; i < std::min(some, names.size()); i++) {
        text += (i == 0 ? "'" : ", '") + names[i].substr(0, kMaxNameBytes) + "'";
    }
    if (names.size() > some) text += " and " + std::to_string(names.size() - some) + " more";
    return text;
}

} // namespace

Checkpoint Checkpoint::open(const ModelFiles &files, const Cancellation &cancel) {
    const std::string &path = files.model;
    Checkpoint checkpoint;
    checkpoint.path_ = path;
    std::error_code ignored;
    if (std::filesystem::is_directory(std::filesystem::u8path(path), ignored)) {
        checkpoint.readFolder(files.vae.empty(), cancel);
    } else {
        checkpoint.readFile(cancel);
    }
    if (const std::string &text = files.originalConfig; !text.empty()) {
        const std::string where = "the .yaml beside '" + path + "'";
        const Json config = parseJson(text.data(), text.size(), where);
        checkpoint.config_ = checkpoint.config_.overriddenBy(readOriginalConfig(config, where));
    }
    if (!files.vae.empty()) checkpoint.replaceVae(files.vae, cancel);
    if (!files.tinyDecoder.empty()) checkpoint.addTinyDecoder(files.tinyDecoder, cancel);
    return checkpoint;
}

void Checkpoint::readFolder(bool withVae, const Cancellation &cancel) {
    format_ = "diffusers";
    const DiffusersFolder folder = readDiffusersFolder(path_, withVae, cancel);
    const OriginalNames names(folder);
    config_ = folder.config;
    const auto addAll = [&](const StoredTensors &tensors, const std::string &prefix,
                            auto originalName) {
        for (const auto &[name, tensor] : tensors) {
            const std::string original = originalName(name);
            add(name, original.empty() ? "" : prefix + original, tensor);
        }
    };
    addAll(folder.unet, kUnetPrefix, [&](const auto &name) { return names.unet(name); });
    addAll(folder.vae, kVaePrefix, [&](const auto &name) { return names.vae(name); });
    const bool two = !folder.textEncoder2.empty();
    const auto ofText = [&](const auto &name) { return names.textEncoder(name); };
    addAll(folder.textEncoder, two ? kXlFirstPrefix : kTransformersPrefix, ofText);
    addAll(folder.textEncoder2, kXlSecondPrefix, ofText);
}

void Checkpoint::readFile(const Cancellation &cancel) {
    ModelFile file = readModelFile(path_, cancel);
    format_ = file.format;
    refuseOtherFamilies(file.tensors, path_);
    config_ = file.config.overriddenBy(configOfMarkers(file.tensors));
    const bool openClip = hasOpenClipText(file.tensors);
    if (openClip) config_.textEncoder.activation = "gelu";
    const VaeNaming ofVae = vaeNaming(vaeOf(file.tensors));
    for (auto &[name, tensor] : withTransformersNames(std::move(file.tensors))) {
        const auto inVae = after(name, kVaePrefix);
        if (inVae && ofVae) {
            const std::string vae = ofVae(*inVae);
            add(name, vae.empty() ? "" : kVaePrefix + vae, std::move(tensor));
            continue;
        }
        std::string original = withInnerPrefix(name);
        // Files have more than the networks: averages over the training, an optimiser's state.
        if (isOfNetworks(original))
            add(name, std::move(original), std::move(tensor));
        else
            unknown_.push_back(tensor.name);
    }
    dropUnusedTextLayer(openClip);
    if (tensors_.empty()) {
        throw Error("MODEL_FORMAT",
                    "'" + path_ +
                        "' has no tensor of a Stable Diffusion checkpoint (no name starts with '" +
                        kUnetPrefix + "'); give a checkpoint of Stable Diffusion 1.x, 2.x or XL",
                    {{"path", path_}});
    }
}

/// A tensor of one of the networks; `original` is "" if these have no such name.
void Checkpoint::add(const std::string &name, std::string original, StoredTensor tensor) {
    std::string full = withInnerPrefix(std::move(original));
    if (full.empty() ? contains(name, "position_ids") : isOfNoUse(full)) {
        unknown_.push_back(tensor.name);
    } else if (full.empty()) {
        leftover_.push_back(tensor.name);
    } else if (!tensors_.try_emplace(std::move(full), std::move(tensor)).second) {
        throw Error("MODEL_FORMAT",
                    "'" + path_ + "' has two tensors for '" + full + "', one called '" + name + "'",
                    {{"tensor", name}});
    }
}

void Checkpoint::replaceVae(const std::string &path, const Cancellation &cancel) {
    const VaeFile vae = readVae(path, cancel);
    const auto first = tensors_.lower_bound(kVaePrefix);
    auto last = first;
    while (last != tensors_.end() && startsWith(last->first, kVaePrefix)) ++last;
    tensors_.erase(first, last);
    for (const auto &[name, tensor] : vae.tensors) add(tensor.name, name, tensor);
    for (const auto &name : vae.leftover) leftover_.push_back(name);
    // Of the one that goes only what it does not say itself, such as the factor of latents.
    config_.vae.channels.clear();
    config_.vae.layers.reset();
    config_.vae = config_.vae.overriddenBy(vae.config);
}

void Checkpoint::addTinyDecoder(const std::string &path, const Cancellation &cancel) {
    TinyDecoderFile tiny = readTinyDecoder(path, hasAny(kXlSecondPrefix), cancel);
    tensors_.merge(tiny.tensors);
    for (auto &name : tiny.unknown) unknown_.push_back(std::move(name));
    config_.tinyDecoder = tiny.config;
    tinyDecoderPath_ = path;
}

/// Stable Diffusion 2.x takes the states that go into the last of OpenCLIP's 24 layers. Some files
/// have that layer, others the 23 that are used.
void Checkpoint::dropUnusedTextLayer(bool openClip) {
    const auto layer = [](int n) {
        return kTransformersPrefix + ("text_model.encoder.layers." + std::to_string(n) + ".");
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

bool Checkpoint::isWhole() const { return missingNetworks().empty(); }

/// A UNet with added conditioning is one of XL, which has two text encoders.
std::vector<Checkpoint::Missing> Checkpoint::missingNetworks() const {
    const bool xl = hasAny(kXlFirstPrefix) || hasAny(kXlSecondPrefix) ||
                    hasAny(kUnetPrefix + std::string("label_emb."));
    std::vector<Missing> networks = {{kUnetPrefix, "a UNet"}, {kVaePrefix, "an autoencoder (VAE)"}};
    if (xl) {
        networks.push_back({kXlFirstPrefix, "the first text encoder (CLIP ViT-L)"});
        networks.push_back({kXlSecondPrefix, "the second text encoder (OpenCLIP ViT-bigG)"});
    } else {
        networks.push_back({kTransformersPrefix, "a text encoder"});
    }
    const auto isThere = [&](const Missing &network) { return hasAny(network.prefix); };
    networks.erase(std::remove_if(networks.begin(), networks.end(), isThere), networks.end());
    return networks;
}

void Checkpoint::requireAllNetworks() const {
    const std::vector<Missing> networks = missingNetworks();
    if (networks.empty()) return;
    std::string missing;
    for (const auto &[prefix, network] : networks) {
        missing += (missing.empty() ? "" : " and ") + std::string(network) + " (no tensor '" +
                   prefix + "...')";
    }
    const bool onlyVae = networks.size() == 1 && networks[0].prefix == std::string(kVaePrefix);
    const bool xl = hasAny(kXlSecondPrefix);
    throw Error("MODEL_FORMAT",
                "'" + path_ + "' lacks " + missing + "; " +
                    (!onlyVae ? "give a whole checkpoint, with a UNet, an autoencoder and its text "
                                "encoders"
                     : xl     ? "give an autoencoder with the option vae, such as the file "
                                "sdxl_vae.safetensors"
                              : "give an autoencoder with the option vae, such as the file "
                                "vae-ft-mse-840000-ema-pruned.safetensors"),
                {{"path", path_}});
}

void Checkpoint::requireNothingLeft(const std::set<std::string> &used,
                                    const Architecture &architecture) const {
    std::vector<std::string> left = leftover_;
    for (const auto &[name, tensor] : tensors_) {
        if (used.count(name) > 0 || architecture.isBehindStates(name)) continue;
        if (startsWith(name, kTinyDecoderPrefix)) {
            throw Error("MODEL_UNSUPPORTED",
                        "'" + tensor.file->path() + "' has a tensor '" + tensor.name +
                            "' that a tiny decoder of Stable Diffusion has no place for; it is one "
                            "of another kind",
                        {{"path", tensor.file->path()}, {"tensor", tensor.name}});
        }
        left.push_back(tensor.name);
    }
    if (left.empty()) return;
    throw Error("MODEL_UNSUPPORTED",
                "'" + path_ + "' has " + std::to_string(left.size()) +
                    (left.size() == 1 ? " tensor" : " tensors") +
                    " that the networks of Stable Diffusion have no place for: " + someOf(left) +
                    "; it is a model of another kind, and without them its pictures would be wrong",
                {{"path", path_}, {"tensor", left.front()}});
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
    const std::string &path = startsWith(name, kTinyDecoderPrefix) ? tinyDecoderPath_ : path_;
    throw Error("MODEL_FORMAT", "'" + path + "' lacks tensor '" + name + "'",
                {{"tensor", name}, {"path", path}});
}

WeightSource::Description Checkpoint::describe(const std::string &name) const {
    return magicmix::describe(tensor(name));
}

WeightSource::Values Checkpoint::read(const std::string &name) const {
    return valuesOf(tensor(name));
}

} // namespace magicmix
