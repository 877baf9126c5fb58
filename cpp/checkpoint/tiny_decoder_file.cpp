#include "checkpoint/tiny_decoder_file.h"

#include "base/error.h"
#include "base/text.h"
#include "checkpoint/configuration.h"
#include "checkpoint/model_file.h"
#include "checkpoint/model_folder.h"
#include "model/names.h"

#include <algorithm>
#include <cctype>
#include <filesystem>

namespace magicmix {
namespace {

namespace fs = std::filesystem;

const char *const kInstead = "give that of Stable Diffusion 1.x and 2.x, such as "
                             "hf:madebyollin/taesd";

[[noreturn]] void refuse(const char *code, const std::string &path, const std::string &problem) {
    throw Error(code, "'" + path + "' " + problem, {{"path", path}});
}

// ---------------------------------------------------------------------------------------------
// Of other latents, by their names

enum class Latents { Any, Ours, OfXl };

/// TAESDXL, or TAESD and nothing behind it that makes another of it.
Latents latentsOf(std::string name) {
    std::transform(name.begin(), name.end(), name.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    if (contains(name, "sdxl")) return Latents::OfXl;
    return contains(name, "taesd") ? Latents::Ours : Latents::Any;
}

/// By the parts of a path that name the model: the file, the folder of a file that is called as
/// they all are, and the repository in a cache of the hub.
Latents latentsOfPath(const fs::path &path) {
    const fs::path plain = path.lexically_normal();
    std::vector<std::string> names{plain.filename().u8string()};
    if (plain.stem().u8string() == "diffusion_pytorch_model") {
        names.push_back(plain.parent_path().filename().u8string());
    }
    for (const fs::path &part : plain) {
        if (startsWith(part.u8string(), "models--")) names.push_back(part.u8string());
    }
    for (const auto &name : names) {
        if (latentsOf(name) != Latents::Any) return latentsOf(name);
    }
    return Latents::Any;
}

void refuseOtherLatents(const std::string &path, const std::string &declaredName, bool ofXl) {
    Latents found = latentsOf(declaredName);
    if (found == Latents::Any) found = latentsOfPath(fs::u8path(path));
    if (found == Latents::OfXl && !ofXl) {
        refuse("MODEL_UNSUPPORTED", path,
               std::string("is, by its name, a tiny decoder of Stable Diffusion XL (TAESDXL), "
                           "whose latents are others; ") +
                   kInstead);
    }
    if (found == Latents::Ours && ofXl) {
        refuse("MODEL_UNSUPPORTED", path,
               "is, by its name, a tiny decoder of Stable Diffusion 1.x and 2.x (TAESD), while the "
               "model is one of Stable Diffusion XL, whose latents are others; give TAESDXL, such "
               "as hf:madebyollin/taesdxl");
    }
}

// ---------------------------------------------------------------------------------------------
// Names of tensors

/// "12.conv.0.weight" is that of layer 11: the original counts the clamp of latents as a layer.
std::string withoutClamp(const std::string &name) {
    const std::size_t digits = name.find_first_not_of("0123456789");
    if (digits == 0 || digits == std::string::npos || digits > 3 || name[digits] != '.') return "";
    const int layer = std::stoi(name.substr(0, digits)) - 1;
    return layer < 0 ? "" : "layers." + std::to_string(layer) + name.substr(digits);
}

/// Of the tensors of a file; "" for those that are not the decoder's.
std::string nameOf(const std::string &name, bool original) {
    if (original) return withoutClamp(name);
    const auto rest = after(name, "decoder.");
    return rest && startsWith(*rest, "layers.") ? *rest : "";
}

TinyDecoderFile renamed(const StoredTensors &tensors, const std::string &path) {
    const bool original = tensors.count("1.weight") > 0 && tensors.count("0.weight") == 0;
    TinyDecoderFile file;
    for (const auto &[name, tensor] : tensors) {
        const std::string ours = nameOf(name, original);
        if (ours.empty()) {
            file.unknown.push_back(name);
        } else if (!file.tensors.emplace(kTinyDecoderPrefix + ours, tensor).second) {
            throw Error("MODEL_FORMAT",
                        "'" + path + "' has two tensors for '" + ours + "', one called '" + name +
                            "'",
                        {{"tensor", name}, {"path", path}});
        }
    }
    if (!file.tensors.empty()) return file;
    if (tensors.count("0.weight") > 0 || hasPrefix(tensors, "encoder.layers.")) {
        refuse("MODEL_FORMAT", path,
               "is the encoder of a tiny autoencoder; give the decoder, which is in "
               "taesd_decoder.safetensors");
    }
    if (hasPrefix(tensors, "decoder.up") || hasPrefix(tensors, kVaePrefix)) {
        refuse("MODEL_UNSUPPORTED", path,
               "has an autoencoder (VAE) and no tiny decoder; give it with the option vae");
    }
    refuse("MODEL_FORMAT", path,
           "has no tiny decoder: no tensor is called 'decoder.layers...', as diffusers has them, "
           "or '1.weight', as TAESD has them");
}

// ---------------------------------------------------------------------------------------------

TinyDecoderFile readFile(const std::string &path, bool ofXl, const Cancellation &cancel) {
    refuseOtherLatents(path, "", ofXl);
    return renamed(readModelFile(path, cancel).tensors, path);
}

TinyDecoderFile readFolder(const std::string &path, bool ofXl, const Cancellation &cancel) {
    const ModelFolder folder(path, cancel);
    const fs::path part = folder.has("model_index.json") ? "vae" : ".";
    const fs::path configuration = part / "config.json";
    if (!folder.has(configuration)) {
        const std::string name = ofXl ? "taesdxl_decoder" : "taesd_decoder";
        for (const char *ending : {".safetensors", ".pth"}) {
            if (folder.has(name + ending))
                return readFile(folder.path(name + ending), ofXl, cancel);
        }
        refuse("MODEL_FORMAT", path,
               "has neither a config.json nor " + name +
                   ".safetensors; give the folder of an AutoencoderTiny, or a file");
    }
    const Json json = folder.json(configuration);
    const bool named =
        json.is_object() && json.contains("_name_or_path") && json["_name_or_path"].is_string();
    refuseOtherLatents(path, named ? json["_name_or_path"].get<std::string>() : "", ofXl);
    const ModelConfig config = readConfiguration({{"tinyDecoder", json}}, "'" + path + "'");
    const std::string diffusion = "diffusion_pytorch_model";
    TinyDecoderFile file = renamed(folder.weights(part, diffusion, diffusion), path);
    file.config = config.tinyDecoder;
    return file;
}

} // namespace

TinyDecoderFile readTinyDecoder(const std::string &path, bool ofXl, const Cancellation &cancel) {
    std::error_code ignored;
    const bool folder = fs::is_directory(fs::u8path(path), ignored);
    return folder ? readFolder(path, ofXl, cancel) : readFile(path, ofXl, cancel);
}

} // namespace magicmix
