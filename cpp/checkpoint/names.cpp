#include "checkpoint/names.h"

#include <initializer_list>
#include <utility>

namespace magicmix {
namespace {

using Pairs = std::initializer_list<std::pair<const char *, const char *>>;

// diffusers on the left, the original on the right.

constexpr Pairs kUnetOutside = {{"conv_in", "input_blocks.0.0"},
                                {"time_embedding.linear_1", "time_embed.0"},
                                {"time_embedding.linear_2", "time_embed.2"},
                                {"add_embedding.linear_1", "label_emb.0.0"},
                                {"add_embedding.linear_2", "label_emb.0.2"},
                                {"conv_norm_out", "out.0"},
                                {"conv_out", "out.2"}};
constexpr Pairs kUnetResBlock = {
    {"norm1", "in_layers.0"},  {"conv1", "in_layers.2"},  {"time_emb_proj", "emb_layers.1"},
    {"norm2", "out_layers.0"}, {"conv2", "out_layers.3"}, {"conv_shortcut", "skip_connection"}};

constexpr Pairs kVaeOutside = {
    {"conv_in", "conv_in"}, {"conv_norm_out", "norm_out"}, {"conv_out", "conv_out"}};
constexpr Pairs kVaeResBlock = {{"norm1", "norm1"},
                                {"conv1", "conv1"},
                                {"norm2", "norm2"},
                                {"conv2", "conv2"},
                                {"conv_shortcut", "nin_shortcut"}};
constexpr Pairs kVaeAttention = {
    {"group_norm", "norm"},   {"to_q", "q"}, {"to_k", "k"},  {"to_v", "v"},
    {"to_out.0", "proj_out"}, // the names of old repositories follow
    {"query", "q"},           {"key", "k"},  {"value", "v"}, {"proj_attn", "proj_out"}};

std::string numbered(const std::string &name, int n) { return name + "." + std::to_string(n); }

void addAll(ModuleNames &names, const std::string &diffusers, const std::string &original,
            const Pairs &parts) {
    for (const auto &[left, right] : parts) {
        names.add(diffusers + "." + left, original + "." + right);
    }
}

/// Replaces the longest beginning of `name`, up to a dot, that is in `table`.
std::string renamed(const std::string &name, const std::map<std::string, std::string> &table) {
    for (std::size_t end = name.size(); end != std::string::npos && end > 0;
         end = name.rfind('.', end - 1)) {
        const auto found = table.find(name.substr(0, end));
        if (found != table.end()) return found->second + name.substr(end);
    }
    return "";
}

} // namespace

void ModuleNames::add(const std::string &diffusers, const std::string &original) {
    toOriginal_.emplace(diffusers, original);
    toDiffusers_.emplace(original, diffusers);
}

std::string ModuleNames::original(const std::string &diffusersName) const {
    return renamed(diffusersName, toOriginal_);
}

std::string ModuleNames::diffusers(const std::string &originalName) const {
    return renamed(originalName, toDiffusers_);
}

ModuleNames unetNames(const UnetOutline &outline) {
    ModuleNames names;
    for (const auto &[left, right] : kUnetOutside) names.add(left, right);

    const int levels = static_cast<int>(outline.attentionOnWayUp.size());
    const int perLevel = outline.layers + 1;
    for (int level = 0; level < levels; level++) {
        // The first input block is the first convolution; the last of a level has the downsampling.
        const std::string down = numbered("down_blocks", level);
        for (int i = 0; i < outline.layers; i++) {
            const std::string block = numbered("input_blocks", 1 + level * perLevel + i);
            addAll(names, numbered(down + ".resnets", i), block + ".0", kUnetResBlock);
            names.add(numbered(down + ".attentions", i), block + ".1");
        }
        names.add(down + ".downsamplers.0.conv",
                  numbered("input_blocks", (level + 1) * perLevel) + ".0.op");

        const std::string up = numbered("up_blocks", level);
        for (int i = 0; i < perLevel; i++) {
            const std::string block = numbered("output_blocks", level * perLevel + i);
            addAll(names, numbered(up + ".resnets", i), block + ".0", kUnetResBlock);
            names.add(numbered(up + ".attentions", i), block + ".1");
        }
        const bool attention = outline.attentionOnWayUp[static_cast<std::size_t>(level)];
        names.add(up + ".upsamplers.0.conv",
                  numbered("output_blocks", level * perLevel + perLevel - 1) +
                      (attention ? ".2.conv" : ".1.conv"));
    }
    addAll(names, "mid_block.resnets.0", "middle_block.0", kUnetResBlock);
    names.add("mid_block.attentions.0", "middle_block.1");
    addAll(names, "mid_block.resnets.1", "middle_block.2", kUnetResBlock);
    return names;
}

ModuleNames vaeNames(int levels) {
    constexpr int mostBlocks = 17; // per level
    ModuleNames names;
    for (const char *conv : {"quant_conv", "post_quant_conv"}) names.add(conv, conv);
    for (const std::string coder : {"encoder", "decoder"}) {
        addAll(names, coder, coder, kVaeOutside);
        for (int level = 0; level < levels; level++) {
            for (const std::string way : {"down", "up"}) {
                const std::string left = coder + "." + numbered(way + "_blocks", level);
                // The original counts the decoder's levels from fine to coarse, too.
                const std::string right =
                    coder + "." + numbered(way, way == "up" ? levels - 1 - level : level);
                for (int i = 0; i < mostBlocks; i++) {
                    addAll(names, numbered(left + ".resnets", i), numbered(right + ".block", i),
                           kVaeResBlock);
                }
                names.add(left + "." + way + "samplers.0", right + "." + way + "sample");
            }
        }
        addAll(names, coder + ".mid_block.resnets.0", coder + ".mid.block_1", kVaeResBlock);
        addAll(names, coder + ".mid_block.attentions.0", coder + ".mid.attn_1", kVaeAttention);
        addAll(names, coder + ".mid_block.resnets.1", coder + ".mid.block_2", kVaeResBlock);
    }
    return names;
}

std::string vaeOriginalName(const std::string &name) {
    const std::string attention = ".mid.attn_1.";
    const std::size_t at = name.find(attention);
    if (at == std::string::npos) return name;
    const std::size_t part = at + attention.size();
    for (const auto &[diffusers, original] : kVaeAttention) {
        const std::string left = std::string(diffusers) + ".";
        if (name.compare(part, left.size(), left) == 0) {
            return name.substr(0, part) + original + "." + name.substr(part + left.size());
        }
    }
    return name;
}

} // namespace magicmix
