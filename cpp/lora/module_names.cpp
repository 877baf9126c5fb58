#include "lora/module_names.h"

#include <algorithm>
#include <regex>
#include <set>
#include <utility>

namespace magicmix {
namespace {

// The places of the networks in an original checkpoint.
const std::string kUnet = "model.diffusion_model.";
const std::string kText = "cond_stage_model.transformer.";

/// What follows `prefix`; false if `name` does not start with it.
bool after(const std::string &name, const std::string &prefix, std::string &rest) {
    if (name.rfind(prefix, 0) != 0) return false;
    rest = name.substr(prefix.size());
    return true;
}

std::string renamed(const std::string &name,
                    const std::vector<std::pair<std::string, std::string>> &table) {
    for (const auto &[from, to] : table) {
        if (name == from) return to;
    }
    return name;
}

std::string resNet(const std::string &part) {
    return renamed(part, {{"in_layers.2", "conv1"},
                          {"emb_layers.1", "time_emb_proj"},
                          {"out_layers.3", "conv2"},
                          {"skip_connection", "conv_shortcut"}});
}

/// The number of ResBlocks of a level: after them the encoder's first level halves the picture.
int layersOf(const std::vector<std::string> &weights) {
    const std::set<std::string> names(weights.begin(), weights.end());
    for (int n = 1; n < 64; n++) {
        if (names.count(kUnet + "input_blocks." + std::to_string(n) + ".0.op.weight") > 0) {
            return n - 1;
        }
    }
    return static_cast<int>(names.size()); // one level only
}

/// The diffusers name of a module of the UNet.
std::string diffusersModule(const std::string &module, int layers) {
    static const std::regex pattern(
        "(input|middle|output)_block(?:s\\.(\\d{1,3}))?\\.(\\d)(?:\\.(.+))?");
    std::smatch match;
    if (module == "input_blocks.0.0" || !std::regex_match(module, match, pattern)) {
        return renamed(module, {{"input_blocks.0.0", "conv_in"},
                                {"time_embed.0", "time_embedding.linear_1"},
                                {"time_embed.2", "time_embedding.linear_2"},
                                {"out.2", "conv_out"}});
    }
    const std::string side = match[1], part = match[4];
    const int place = std::stoi(match[3]);
    if (side == "middle") {
        return place == 1 ? "mid_block.attentions.0." + part
                          : "mid_block.resnets." + std::to_string(place / 2) + "." + resNet(part);
    }
    // The first input block is the first convolution; the last of a level has the downsampling.
    const int n = std::stoi(match[2]) - (side == "input" ? 1 : 0);
    const std::string level = std::to_string(n / (layers + 1));
    const std::string inner = std::to_string(n % (layers + 1));
    const std::string block = (side == "input" ? "down_blocks." : "up_blocks.") + level + ".";
    if (part == "op") return block + "downsamplers.0.conv";
    if (part == "conv") return block + "upsamplers.0.conv";
    if (place == 0) return block + "resnets." + inner + "." + resNet(part);
    return block + "attentions." + inner + "." + part;
}

std::string underscored(std::string module) {
    std::replace(module.begin(), module.end(), '.', '_');
    return module;
}

} // namespace

std::map<std::string, std::string> loraModules(const std::vector<std::string> &weights) {
    const std::string end = ".weight";
    const int layers = layersOf(weights);
    std::map<std::string, std::string> modules;
    for (const auto &weight : weights) {
        if (weight.size() <= end.size() ||
            weight.compare(weight.size() - end.size(), end.size(), end) != 0) {
            continue;
        }
        const std::string module = weight.substr(0, weight.size() - end.size());
        std::string inside;
        if (after(module, kUnet, inside)) {
            const std::string diffusers = diffusersModule(inside, layers);
            modules.emplace("unet." + diffusers, weight);
            modules.emplace("lora_unet_" + underscored(diffusers), weight);
            modules.emplace("lora_unet_" + underscored(inside), weight);
        } else if (after(module, kText, inside)) {
            modules.emplace("text_encoder." + inside, weight);
            modules.emplace("lora_te_" + underscored(inside), weight);
            modules.emplace("lora_te1_" + underscored(inside), weight);
        }
    }
    return modules;
}

} // namespace magicmix
