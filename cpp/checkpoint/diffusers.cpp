#include "checkpoint/diffusers.h"

#include "base/error.h"
#include "base/text.h"
#include "checkpoint/config_check.h"
#include "checkpoint/configuration.h"
#include "checkpoint/model_folder.h"
#include "checkpoint/tokenizer.h"
#include "checkpoint/unsupported.h"

#include <filesystem>

namespace magicmix {
namespace {

namespace fs = std::filesystem;

// ---------------------------------------------------------------------------------------------
// Configuration

/// The configurations of the parts, those that are there.
Json readConfigFiles(const ModelFolder &model) {
    Json parts = Json::object();
    const auto read = [&](const char *part, const char *file) {
        const fs::path path = fs::path(part) / file;
        if (model.has(path)) parts[part] = model.json(path);
    };
    read("unet", "config.json");
    read("vae", "config.json");
    read("text_encoder", "config.json");
    read("text_encoder_2", "config.json");
    read("scheduler", "scheduler_config.json");
    parts["model_index"] = model.json("model_index.json");
    return parts;
}

/// The class that a configuration of a pipeline, or of one of its parts, names; else "".
std::string classOf(const ModelFolder &model, const char *file) {
    const Json json = model.has(file) ? model.json(file) : Json::object();
    if (!json.is_object()) return "";
    // transformers has a list of classes where diffusers has one
    const Json list = json.value("architectures", Json::array());
    const Json name = json.contains("_class_name")       ? json["_class_name"]
                      : list.is_array() && !list.empty() ? list.front()
                                                         : Json();
    return name.is_string() ? name.get<std::string>() : "";
}

/// The classes that a folder names: a pipeline of another family is refused by its name.
void checkPipeline(const ModelFolder &model) {
    const std::string root = model.root();
    if (!model.has("model_index.json")) {
        refusePartOfModel(classOf(model, "config.json"), root);
        throw Error("MODEL_FORMAT",
                    "folder '" + root +
                        "' has no model_index.json; give a diffusers folder or a file",
                    {{"path", root}});
    }
    refuseOtherPipelines(classOf(model, "model_index.json"), root);
    refuseOtherSchedulers(classOf(model, "scheduler/scheduler_config.json"), root);
    refuseOtherKeys(model.json("model_index.json"), "model_index.json",
                    "'" + root + "', model_index.json");
}

// ---------------------------------------------------------------------------------------------
// Names

/// The number of consecutive `before`0`after`, `before`1`after`, ... among the tensors.
int countNumbered(const StoredTensors &tensors, const std::string &before, const std::string &end) {
    int count = 0;
    while (tensors.count(before + std::to_string(count) + end) > 0) count++;
    return count;
}

UnetOutline outlineOf(const StoredTensors &unet) {
    UnetOutline outline;
    outline.layers = countNumbered(unet, "down_blocks.0.resnets.", ".conv1.weight");
    const int levels = countNumbered(unet, "up_blocks.", ".resnets.0.conv1.weight");
    for (int i = 0; i < levels; i++) {
        const std::string norm = "up_blocks." + std::to_string(i) + ".attentions.0.norm.weight";
        outline.attentionOnWayUp.push_back(unet.count(norm) > 0);
    }
    return outline;
}

} // namespace

DiffusersFolder readDiffusersFolder(const std::string &path, bool withVae,
                                    const Cancellation &cancel) {
    const ModelFolder model(path, cancel);
    checkPipeline(model);
    const bool isXl = contains(classOf(model, "model_index.json"), "XL");
    DiffusersFolder folder;
    folder.config = readConfiguration(readConfigFiles(model), "'" + path + "'");
    folder.config.tokenizer = readTokenizer(model, "tokenizer");
    if (isXl) {
        const ModelConfig::Tokenizer second = readTokenizer(model, "tokenizer_2");
        requireSameTokens(folder.config.tokenizer, second, path);
        folder.config.textEncoder2.padding = second.padding;
    }
    const std::string diffusion = "diffusion_pytorch_model";
    folder.unet = model.weights("unet", diffusion, diffusion);
    refuseOtherUnets(folder.unet, isXl, path);
    if (withVae && !model.has("vae")) {
        throw Error("MODEL_NOT_FOUND",
                    "folder '" + path + "' has no autoencoder (vae/); give one with the option vae",
                    {{"path", path}});
    }
    if (withVae) folder.vae = model.weights("vae", diffusion, diffusion);
    folder.textEncoder = model.weights("text_encoder", "model", "pytorch_model");
    if (isXl) folder.textEncoder2 = model.weights("text_encoder_2", "model", "pytorch_model");
    return folder;
}

DiffusersVae readDiffusersVae(const std::string &path, const Cancellation &cancel) {
    const ModelFolder model(path, cancel);
    const fs::path part = model.has("model_index.json") ? "vae" : ".";
    const fs::path configuration = part / "config.json";
    if (!model.has(configuration)) {
        throw Error("MODEL_FORMAT",
                    "folder '" + path +
                        "' has no config.json; give the folder of an autoencoder, or its file",
                    {{"path", path}});
    }
    const Json parts = {{"vae", model.json(configuration)}};
    const std::string diffusion = "diffusion_pytorch_model";
    return {model.weights(part, diffusion, diffusion),
            readConfiguration(parts, "'" + path + "'").vae};
}

int vaeLevels(const StoredTensors &vae) {
    return countNumbered(vae, "decoder.up_blocks.", ".resnets.0.conv1.weight");
}

OriginalNames::OriginalNames(const DiffusersFolder &folder)
    : unet_(unetNames(outlineOf(folder.unet))), vae_(vaeNames(vaeLevels(folder.vae))) {}

std::string OriginalNames::textEncoder(const std::string &name) const {
    if (startsWith(name, "text_projection.")) return name;
    return "text_model." + after(name, "text_model.").value_or(name);
}

} // namespace magicmix
