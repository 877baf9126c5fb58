#include "checkpoint/diffusers.h"

#include "checkpoint/configuration.h"
#include "checkpoint/family.h"
#include "checkpoint/model_file.h"
#include "engine.h"
#include "error.h"

#include <algorithm>
#include <filesystem>
#include <regex>

namespace magicmix {
namespace {

namespace fs = std::filesystem;

// ---------------------------------------------------------------------------------------------
// Files

/// Adds the shards that an index names. A shard is a plain file name: a path could lead out of the
/// folder.
StoredTensors readShards(const fs::path &folder, const fs::path &indexPath) {
    const Json index = parseJsonFile(indexPath.u8string());
    const auto map = index.is_object() ? index.find("weight_map") : index.end();
    if (!index.is_object() || map == index.end() || !map->is_object()) {
        throw Error("MODEL_FORMAT", "'" + indexPath.u8string() + "' has no weight_map");
    }
    std::map<std::string, StoredTensors> shards;
    StoredTensors tensors;
    for (const auto &[name, value] : map->items()) {
        const std::string shard = value.is_string() ? value.get<std::string>() : "";
        if (shard.empty() || shard.find_first_of("/\\:") != std::string::npos || shard[0] == '.') {
            throw Error("MODEL_FORMAT",
                        "'" + indexPath.u8string() + "' puts tensor '" + name + "' into '" + shard +
                            "'; a shard must be the plain name of a file in the same folder",
                        {{"tensor", name}});
        }
        if (shards.count(shard) == 0) {
            shards.emplace(shard, readModelFile((folder / shard).u8string()).tensors);
        }
        const auto &stored = shards.at(shard);
        const auto found = stored.find(name);
        if (found == stored.end()) {
            throw Error("MODEL_FORMAT",
                        "shard '" + shard + "' lacks tensor '" + name + "', which '" +
                            indexPath.u8string() + "' puts there",
                        {{"tensor", name}});
        }
        tensors.emplace(name, found->second);
    }
    return tensors;
}

/// The weights in `folder`, whose files start with `stem`.
StoredTensors readComponent(const fs::path &folder, const std::string &stem) {
    for (const char *variant : {"", ".fp16"}) {
        const fs::path single = folder / (stem + variant + ".safetensors");
        if (fs::exists(single)) return readModelFile(single.u8string()).tensors;
        // transformers and diffusers put the variant on different sides of the index's name
        for (const std::string &name : {stem + variant + ".safetensors.index.json",
                                        stem + ".safetensors.index" + variant + ".json"}) {
            if (fs::exists(folder / name)) return readShards(folder, folder / name);
        }
    }
    const bool pickled =
        fs::exists(folder / (stem + ".bin")) || fs::exists(folder / "pytorch_model.bin");
    throw Error(
        pickled ? "MODEL_UNSUPPORTED" : "MODEL_NOT_FOUND",
        "'" + folder.u8string() + "' has no " + stem + ".safetensors" +
            (pickled ? ", only a pickled .bin; save the model with safe_serialization=True" : ""),
        {{"path", folder.u8string()}});
}

// ---------------------------------------------------------------------------------------------
// Configuration

/// The configurations of the parts, those that are there.
Json readConfigFiles(const fs::path &root) {
    Json parts = Json::object();
    const auto read = [&](const char *part, const char *file) {
        const fs::path path = root / part / file;
        if (fs::exists(path)) parts[part] = parseJsonFile(path.u8string());
    };
    read("unet", "config.json");
    read("vae", "config.json");
    read("text_encoder", "config.json");
    read("scheduler", "scheduler_config.json");
    return parts;
}

/// The class that a configuration of a pipeline, or of one of its parts, names; else "".
std::string classOf(const fs::path &path) {
    const Json json = fs::exists(path) ? parseJsonFile(path.u8string()) : Json::object();
    if (!json.is_object()) return "";
    // transformers has a list of classes where diffusers has one
    const Json list = json.value("architectures", Json::array());
    const Json name = json.contains("_class_name")       ? json["_class_name"]
                      : list.is_array() && !list.empty() ? list.front()
                                                         : Json();
    return name.is_string() ? name.get<std::string>() : "";
}

/// The classes that a folder names: a pipeline of another family is refused by its name.
void checkPipeline(const fs::path &root) {
    const fs::path path = root / "model_index.json";
    if (!fs::exists(path)) {
        refusePartOfModel(classOf(root / "config.json"), root.u8string());
        throw Error("MODEL_FORMAT",
                    "folder '" + root.u8string() +
                        "' has no model_index.json; give a diffusers folder or a .safetensors file",
                    {{"path", root.u8string()}});
    }
    refuseOtherPipelines(classOf(path), root.u8string());
}

// ---------------------------------------------------------------------------------------------
// Names

/// Splits off what follows `prefix`; false if `name` does not start with it.
bool after(const std::string &name, const std::string &prefix, std::string &rest) {
    if (name.rfind(prefix, 0) != 0) return false;
    rest = name.substr(prefix.size());
    return true;
}

/// The name of the first pair whose key `name` starts with, put in its place; else "".
std::string renamed(const std::string &name,
                    const std::vector<std::pair<std::string, std::string>> &table) {
    std::string rest;
    for (const auto &[from, to] : table) {
        if (after(name, from + ".", rest)) return to + "." + rest;
    }
    return "";
}

std::string unetResBlock(const std::string &name) {
    return renamed(name, {{"norm1", "in_layers.0"},
                          {"conv1", "in_layers.2"},
                          {"time_emb_proj", "emb_layers.1"},
                          {"norm2", "out_layers.0"},
                          {"conv2", "out_layers.3"},
                          {"conv_shortcut", "skip_connection"}});
}

std::string vaeResBlock(const std::string &name) {
    const std::string shortcut = renamed(name, {{"conv_shortcut", "nin_shortcut"}});
    return shortcut.empty() ? name : shortcut;
}

std::string vaeAttention(const std::string &name) {
    return renamed(name, {{"group_norm", "norm"},
                          {"to_q", "q"},
                          {"to_k", "k"},
                          {"to_v", "v"},
                          {"to_out.0", "proj_out"},
                          {"query", "q"},
                          {"key", "k"},
                          {"value", "v"},
                          {"proj_attn", "proj_out"}});
}

/// 1: down, up or mid; 2: number of the block (none for mid); 3: kind of part; 4: its number;
/// 5: what follows.
const std::regex &blockPattern() {
    static const std::regex pattern(
        "(down|up|mid)_block(?:s\\.(\\d{1,2}))?\\."
        "(resnets|attentions|downsamplers|upsamplers)\\.(\\d{1,2})\\.(.+)");
    return pattern;
}

/// The number of consecutive `before`0`after`, `before`1`after`, ... among the tensors.
int countNumbered(const StoredTensors &tensors, const std::string &before, const std::string &end) {
    int count = 0;
    while (tensors.count(before + std::to_string(count) + end) > 0) count++;
    return count;
}

} // namespace

DiffusersFolder readDiffusersFolder(const std::string &path) {
    const fs::path root = fs::u8path(path);
    checkPipeline(root);
    DiffusersFolder folder;
    folder.config = readConfiguration(readConfigFiles(root), "'" + path + "'");
    folder.unet = readComponent(root / "unet", "diffusion_pytorch_model");
    refuseOtherUnets(folder.unet, path);
    folder.vae = readComponent(root / "vae", "diffusion_pytorch_model");
    folder.textEncoder = readComponent(root / "text_encoder", "model");
    return folder;
}

OriginalNames::OriginalNames(const DiffusersFolder &folder)
    : unetLayers_(countNumbered(folder.unet, "down_blocks.0.resnets.", ".conv1.weight")),
      vaeLevels_(countNumbered(folder.vae, "decoder.up_blocks.", ".resnets.0.conv1.weight")) {
    for (int i = 0; i < 16; i++) {
        const std::string norm = "up_blocks." + std::to_string(i) + ".attentions.0.norm.weight";
        if (folder.unet.count(norm) > 0) upBlocksWithAttention_.insert(i);
    }
}

std::string OriginalNames::unet(const std::string &name) const {
    const std::string top = renamed(name, {{"conv_in", "input_blocks.0.0"},
                                           {"time_embedding.linear_1", "time_embed.0"},
                                           {"time_embedding.linear_2", "time_embed.2"},
                                           {"conv_norm_out", "out.0"},
                                           {"conv_out", "out.2"}});
    if (!top.empty()) return top;

    std::smatch match;
    if (!std::regex_match(name, match, blockPattern())) return "";
    const std::string side = match[1], part = match[3], rest = match[5];
    const int j = std::stoi(match[4]);
    const std::string inner = part == "resnets" ? unetResBlock(rest) : rest;
    if (inner.empty()) return "";

    if (side == "mid") {
        if (part == "resnets") return "middle_block." + std::to_string(2 * j) + "." + inner;
        return part == "attentions" && j == 0 ? "middle_block.1." + inner : "";
    }
    if (!match[2].matched) return "";
    const int i = std::stoi(match[2]);
    if (side == "down") {
        const int first = 1 + i * (unetLayers_ + 1);
        if (part == "downsamplers") {
            const std::string op = renamed(inner, {{"conv", "op"}});
            return op.empty() ? ""
                              : "input_blocks." + std::to_string(first + unetLayers_) + ".0." + op;
        }
        return "input_blocks." + std::to_string(first + j) + (part == "resnets" ? ".0." : ".1.") +
               inner;
    }
    const int first = i * (unetLayers_ + 1);
    if (part == "upsamplers") {
        const char *place = upBlocksWithAttention_.count(i) > 0 ? ".2." : ".1.";
        return "output_blocks." + std::to_string(first + unetLayers_) + place + inner;
    }
    return "output_blocks." + std::to_string(first + j) + (part == "resnets" ? ".0." : ".1.") +
           inner;
}

std::string OriginalNames::vae(const std::string &name) const {
    if (name.rfind("quant_conv.", 0) == 0 || name.rfind("post_quant_conv.", 0) == 0) return name;
    static const std::regex side(R"((encoder|decoder)\.(.+))");
    std::smatch match;
    if (!std::regex_match(name, match, side)) return "";
    const std::string coder = match[1], rest = match[2];

    const std::string top = renamed(
        rest, {{"conv_in", "conv_in"}, {"conv_norm_out", "norm_out"}, {"conv_out", "conv_out"}});
    if (!top.empty()) return coder + "." + top;

    if (!std::regex_match(rest, match, blockPattern())) return "";
    const std::string way = match[1], part = match[3], inner = match[5];
    const int j = std::stoi(match[4]);

    if (way == "mid") {
        if (part == "resnets") {
            return coder + ".mid.block_" + std::to_string(j + 1) + "." + vaeResBlock(inner);
        }
        const std::string attention = vaeAttention(inner);
        return attention.empty() || j != 0 ? "" : coder + ".mid.attn_1." + attention;
    }
    if (!match[2].matched) return "";
    int i = std::stoi(match[2]);
    if (way == "up") i = vaeLevels_ - 1 - i;
    const std::string level = coder + "." + way + "." + std::to_string(i) + ".";
    if (part == "resnets") return level + "block." + std::to_string(j) + "." + vaeResBlock(inner);
    if (part == "downsamplers") return level + "downsample." + inner;
    if (part == "upsamplers") return level + "upsample." + inner;
    return "";
}

std::string OriginalNames::textEncoder(const std::string &name) const {
    std::string rest = name;
    after(name, "text_model.", rest);
    const bool known = rest.rfind("embeddings.", 0) == 0 || rest.rfind("encoder.", 0) == 0 ||
                       rest.rfind("final_layer_norm.", 0) == 0;
    return known ? "text_model." + rest : "";
}

} // namespace magicmix
