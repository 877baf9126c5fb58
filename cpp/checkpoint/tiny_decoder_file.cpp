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

bool hasPrefix(const StoredTensors &tensors, const std::string &prefix) {
    const auto found = tensors.lower_bound(prefix);
    return found != tensors.end() && startsWith(found->first, prefix);
}

// ---------------------------------------------------------------------------------------------
// Of other latents, by their names

bool saysXl(std::string name) {
    std::transform(name.begin(), name.end(), name.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return contains(name, "sdxl");
}

/// The parts of a path that name the model: the file, the folder of a file that is called as they
/// all are, and the repository in a cache of the hub.
bool pathSaysXl(const fs::path &path) {
    const fs::path plain = path.lexically_normal();
    if (saysXl(plain.filename().u8string())) return true;
    if (plain.stem().u8string() == "diffusion_pytorch_model" &&
        saysXl(plain.parent_path().filename().u8string())) {
        return true;
    }
    return std::any_of(plain.begin(), plain.end(), [](const fs::path &part) {
        const std::string name = part.u8string();
        return startsWith(name, "models--") && saysXl(name);
    });
}

void refuseXl(const std::string &path, const std::string &declaredName) {
    if (!pathSaysXl(fs::u8path(path)) && !saysXl(declaredName)) return;
    refuse("MODEL_UNSUPPORTED", path,
           std::string("is, by its name, a tiny decoder of Stable Diffusion XL (TAESDXL), whose "
                       "latents are others; ") +
               kInstead);
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

TinyDecoderFile readFile(const std::string &path, const Cancellation &cancel) {
    refuseXl(path, "");
    return renamed(readModelFile(path, cancel).tensors, path);
}

TinyDecoderFile readFolder(const std::string &path, const Cancellation &cancel) {
    const ModelFolder folder(path, cancel);
    const fs::path part = folder.has("model_index.json") ? "vae" : ".";
    const fs::path configuration = part / "config.json";
    if (!folder.has(configuration)) {
        for (const char *name : {"taesd_decoder.safetensors", "taesd_decoder.pth"}) {
            if (folder.has(name)) return readFile(folder.path(name), cancel);
        }
        refuse("MODEL_FORMAT", path,
               "has neither a config.json nor taesd_decoder.safetensors; give the folder of an "
               "AutoencoderTiny, or a file");
    }
    const Json json = folder.json(configuration);
    const bool named =
        json.is_object() && json.contains("_name_or_path") && json["_name_or_path"].is_string();
    refuseXl(path, named ? json["_name_or_path"].get<std::string>() : "");
    const ModelConfig config = readConfiguration({{"tinyDecoder", json}}, "'" + path + "'");
    const std::string diffusion = "diffusion_pytorch_model";
    TinyDecoderFile file = renamed(folder.weights(part, diffusion, diffusion), path);
    file.config = config.tinyDecoder;
    return file;
}

} // namespace

TinyDecoderFile readTinyDecoder(const std::string &path, const Cancellation &cancel) {
    std::error_code ignored;
    const bool folder = fs::is_directory(fs::u8path(path), ignored);
    return folder ? readFolder(path, cancel) : readFile(path, cancel);
}

} // namespace magicmix
