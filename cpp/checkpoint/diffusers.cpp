#include "checkpoint/diffusers.h"

#include "checkpoint/family.h"
#include "checkpoint/json.h"
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

/// Reads values of one config.json and complains in its name.
class ConfigFile {
public:
    explicit ConfigFile(const fs::path &path) : path_(path.u8string()) {
        if (fs::exists(path)) json_ = parseJsonFile(path_);
        if (!json_.is_object()) fail("is not a JSON object");
    }

    std::optional<int> count(const char *key) const {
        const auto found = json_.find(key);
        if (found == json_.end() || found->is_null()) return std::nullopt;
        return toCount(key, *found);
    }

    /// One number or a list of them.
    std::vector<int> counts(const char *key) const {
        const auto found = json_.find(key);
        if (found == json_.end() || found->is_null()) return {};
        if (!found->is_array()) return {toCount(key, *found)};
        std::vector<int> values;
        for (const auto &value : *found) values.push_back(toCount(key, value));
        return values;
    }

    std::optional<double> number(const char *key) const {
        const auto found = json_.find(key);
        if (found == json_.end() || found->is_null()) return std::nullopt;
        if (!found->is_number()) fail(std::string(key) + " is not a number");
        return found->get<double>();
    }

    /// The numbers of a list of `rows` lists of `columns` numbers, row by row.
    std::vector<double> matrix(const char *key, std::size_t rows, std::size_t columns) const {
        const auto found = json_.find(key);
        if (found == json_.end() || found->is_null()) return {};
        std::vector<double> values;
        for (const auto &row : found->is_array() ? *found : Json::array()) {
            for (const auto &value : row.is_array() ? row : Json::array()) {
                if (value.is_number()) values.push_back(value.get<double>());
            }
        }
        if (found->size() != rows || values.size() != rows * columns) {
            fail(std::string(key) + " is not a list of " + std::to_string(rows) + " lists of " +
                 std::to_string(columns) + " numbers");
        }
        return values;
    }

    std::optional<std::string> text(const char *key) const {
        const auto found = json_.find(key);
        if (found == json_.end() || found->is_null()) return std::nullopt;
        if (!found->is_string()) fail(std::string(key) + " is not a string");
        return found->get<std::string>();
    }

    /// The first of a list of strings, or "".
    std::string first(const char *key) const {
        const auto found = json_.find(key);
        const bool there = found != json_.end() && found->is_array() && !found->empty();
        return there && found->front().is_string() ? found->front().get<std::string>() : "";
    }

private:
    [[noreturn]] void fail(const std::string &problem) const {
        throw Error("MODEL_FORMAT", "'" + path_ + "': " + problem, {{"path", path_}});
    }

    int toCount(const char *key, const Json &value) const {
        if (!value.is_number_integer() || value.get<std::int64_t>() < 1 ||
            value.get<std::int64_t>() > 65536) {
            fail(std::string(key) + " is " + value.dump() + ", not a whole number from 1 to 65536");
        }
        return value.get<int>();
    }

    std::string path_;
    Json json_ = Json::object();
};

DeclaredConfig readConfig(const fs::path &root) {
    DeclaredConfig config;
    const ConfigFile unet(root / "unet" / "config.json");
    // In Stable Diffusion's files `attention_head_dim` has always meant the number of heads.
    config.unetHeads = unet.counts("num_attention_heads");
    if (config.unetHeads.empty()) config.unetHeads = unet.counts("attention_head_dim");
    config.unetNormGroups = unet.count("norm_num_groups");
    const auto sampleSides = unet.counts("sample_size");
    if (!sampleSides.empty()) config.sampleSize = sampleSides.front();

    const ConfigFile text(root / "text_encoder" / "config.json");
    config.textEncoderHeads = text.count("num_attention_heads");
    config.textEncoderActivation = text.text("hidden_act");

    const ConfigFile vae(root / "vae" / "config.json");
    config.vaeNormGroups = vae.count("norm_num_groups");
    config.vaeScalingFactor = vae.number("scaling_factor");
    config.latentRgb = vae.matrix("latent_rgb", 3, kLatentChannels + 1); // ours; diffusers has none

    config.predictionType =
        ConfigFile(root / "scheduler" / "scheduler_config.json").text("prediction_type");
    return config;
}

/// The classes that a folder names: a pipeline of another family is refused by its name.
void checkPipeline(const fs::path &root) {
    const fs::path path = root / "model_index.json";
    if (!fs::exists(path)) {
        const ConfigFile part(root / "config.json");
        refusePartOfModel(part.text("_class_name").value_or(part.first("architectures")),
                          root.u8string());
        throw Error("MODEL_FORMAT",
                    "folder '" + root.u8string() +
                        "' has no model_index.json; give a diffusers folder or a .safetensors file",
                    {{"path", root.u8string()}});
    }
    refuseOtherPipelines(ConfigFile(path).text("_class_name").value_or(""), root.u8string());
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
    folder.config = readConfig(root);
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
