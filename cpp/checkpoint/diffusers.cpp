#include "checkpoint/diffusers.h"

#include "base/error.h"
#include "base/text.h"
#include "checkpoint/configuration.h"
#include "checkpoint/model_file.h"
#include "checkpoint/unsupported.h"

#include <algorithm>
#include <filesystem>

namespace magicmix {
namespace {

namespace fs = std::filesystem;

// ---------------------------------------------------------------------------------------------
// Files

/// A model's folder. Its files and folders may be links elsewhere, as people save space.
class ModelFolder {
public:
    ModelFolder(const fs::path &root, const Cancellation &cancel) : root_(root), cancel_(cancel) {}

    const fs::path &root() const { return root_; }

    bool has(const fs::path &file) const {
        std::error_code ignored;
        return fs::exists(root_ / file, ignored);
    }

    /// The path of a file to be read; `file` is relative to the folder.
    std::string path(const fs::path &file) const { return (root_ / file).u8string(); }
    StoredTensors tensors(const fs::path &file) const {
        return readModelFile(path(file), cancel_).tensors;
    }

private:
    fs::path root_;
    const Cancellation &cancel_;
};

/// Adds the shards that an index names. A shard is a plain file name: a path could lead out of the
/// folder.
StoredTensors readShards(const ModelFolder &model, const fs::path &part, const std::string &file) {
    const std::string indexPath = model.path(part / file);
    const Json index = parseJsonFile(indexPath);
    const auto map = index.is_object() ? index.find("weight_map") : index.end();
    if (!index.is_object() || map == index.end() || !map->is_object()) {
        throw Error("MODEL_FORMAT", "'" + indexPath + "' has no weight_map");
    }
    std::map<std::string, StoredTensors> shards;
    StoredTensors tensors;
    for (const auto &[name, value] : map->items()) {
        const std::string shard = value.is_string() ? value.get<std::string>() : "";
        if (shard.empty() || shard.find_first_of("/\\:") != std::string::npos || shard[0] == '.') {
            throw Error("MODEL_FORMAT",
                        "'" + indexPath + "' puts tensor '" + name + "' into '" + shard +
                            "'; a shard must be the plain name of a file in the same folder",
                        {{"tensor", name}});
        }
        if (shards.count(shard) == 0) {
            shards.emplace(shard, model.tensors(part / shard));
        }
        const auto &stored = shards.at(shard);
        const auto found = stored.find(name);
        if (found == stored.end()) {
            throw Error("MODEL_FORMAT",
                        "shard '" + shard + "' lacks tensor '" + name + "', which '" + indexPath +
                            "' puts there",
                        {{"tensor", name}});
        }
        tensors.emplace(name, found->second);
    }
    return tensors;
}

/// The weights of a part, in one file or in shards: `stem`.safetensors, or `pickledStem`.bin where
/// there is no such file.
StoredTensors readComponent(const ModelFolder &model, const fs::path &part, const std::string &stem,
                            const std::string &pickledStem) {
    for (const auto &[name, ending] : {std::pair{stem, ".safetensors"}, {pickledStem, ".bin"}}) {
        for (const std::string variant : {"", ".fp16"}) {
            const std::string single = name + variant + ending;
            if (model.has(part / single)) return model.tensors(part / single);
            // transformers and diffusers put the variant on different sides of the index's name
            for (const std::string &index :
                 {single + ".index.json", name + ending + ".index" + variant + ".json"}) {
                if (model.has(part / index)) return readShards(model, part, index);
            }
        }
    }
    throw Error("MODEL_NOT_FOUND",
                "'" + (model.root() / part).u8string() + "' has no " + stem +
                    ".safetensors and no " + pickledStem + ".bin",
                {{"path", (model.root() / part).u8string()}});
}

// ---------------------------------------------------------------------------------------------
// Configuration

/// The configurations of the parts, those that are there.
Json readConfigFiles(const ModelFolder &model) {
    Json parts = Json::object();
    const auto read = [&](const char *part, const char *file) {
        const fs::path path = fs::path(part) / file;
        if (model.has(path)) parts[part] = parseJsonFile(model.path(path));
    };
    read("unet", "config.json");
    read("vae", "config.json");
    read("text_encoder", "config.json");
    read("scheduler", "scheduler_config.json");
    return parts;
}

/// The class that a configuration of a pipeline, or of one of its parts, names; else "".
std::string classOf(const ModelFolder &model, const char *file) {
    const Json json = model.has(file) ? parseJsonFile(model.path(file)) : Json::object();
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
    const std::string root = model.root().u8string();
    if (!model.has("model_index.json")) {
        refusePartOfModel(classOf(model, "config.json"), root);
        throw Error("MODEL_FORMAT",
                    "folder '" + root +
                        "' has no model_index.json; give a diffusers folder or a file",
                    {{"path", root}});
    }
    refuseOtherPipelines(classOf(model, "model_index.json"), root);
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

DiffusersFolder readDiffusersFolder(const std::string &path, const Cancellation &cancel) {
    const ModelFolder model(fs::u8path(path), cancel);
    checkPipeline(model);
    DiffusersFolder folder;
    folder.config = readConfiguration(readConfigFiles(model), "'" + path + "'");
    const std::string diffusion = "diffusion_pytorch_model";
    folder.unet = readComponent(model, "unet", diffusion, diffusion);
    refuseOtherUnets(folder.unet, path);
    folder.vae = readComponent(model, "vae", diffusion, diffusion);
    folder.textEncoder = readComponent(model, "text_encoder", "model", "pytorch_model");
    return folder;
}

OriginalNames::OriginalNames(const DiffusersFolder &folder)
    : unet_(unetNames(outlineOf(folder.unet))),
      vae_(vaeNames(countNumbered(folder.vae, "decoder.up_blocks.", ".resnets.0.conv1.weight"))) {}

std::string OriginalNames::textEncoder(const std::string &name) const {
    const std::string rest = after(name, "text_model.").value_or(name);
    const bool known = startsWith(rest, "embeddings.") || startsWith(rest, "encoder.") ||
                       startsWith(rest, "final_layer_norm.");
    return known ? "text_model." + rest : "";
}

} // namespace magicmix
