#include "lora/module_names.h"

#include "base/text.h"
#include "checkpoint/names.h"
#include "model/names.h"

#include <algorithm>
#include <set>

namespace magicmix {
namespace {

/// Of a UNet with original names. The last input block of the first level halves the picture.
UnetOutline outlineOf(const std::set<std::string> &weights) {
    constexpr int mostLayers = 64, mostLevels = 16;
    const auto has = [&](const std::string &name) { return weights.count(kUnetPrefix + name) > 0; };
    const auto block = [](const char *side, int n) { return side + std::to_string(n); };
    UnetOutline outline;
    while (outline.layers < mostLayers &&
           has(block("input_blocks.", outline.layers + 1) + ".0.in_layers.2.weight")) {
        outline.layers++;
    }
    for (int level = 0; level < mostLevels; level++) {
        const std::string first = block("output_blocks.", level * (outline.layers + 1));
        if (!has(first + ".0.in_layers.2.weight")) break;
        outline.attentionOnWayUp.push_back(has(first + ".1.proj_in.weight"));
    }
    return outline;
}

/// How files call the text encoders.
struct TextNames {
    const char *prefix; ///< of ours
    const char *diffusers;
    const char *kohya[2];
};
constexpr TextNames kTextNames[] = {
    {kTransformersPrefix, "text_encoder.", {"lora_te_", "lora_te1_"}},
    {kXlFirstPrefix, "text_encoder.", {"lora_te1_", "lora_te_"}},
    {kXlSecondPrefix, "text_encoder_2.", {"lora_te2_", nullptr}},
};

bool isDigit(char c) { return c >= '0' && c <= '9'; }

std::string underscored(std::string module) {
    std::replace(module.begin(), module.end(), '.', '_');
    return module;
}

/// Where a linear layer of attention stands in a list; nothing for other modules. `module`: its
/// name in diffusers.
std::optional<std::vector<int>> placeInList(const std::string &module) {
    constexpr const char *sides[] = {"down_blocks.", "up_blocks.", "mid_block."};
    constexpr const char *layers[] = {".to_q", ".to_k", ".to_v", ".to_out.0"};
    for (int layer = 0; layer < 4; layer++) {
        if (!endsWith(module, layers[layer])) continue;
        for (int side = 0; side < 3; side++) {
            if (!startsWith(module, sides[side])) continue;
            std::vector<int> place{side};
            const std::size_t end = module.size() - std::string(layers[layer]).size();
            for (std::size_t i = 0; i < end; i++) {
                if (!isDigit(module[i])) continue;
                if (i == 0 || !isDigit(module[i - 1])) place.push_back(0);
                place.back() = 10 * place.back() + (module[i] - '0');
            }
            place.push_back(layer);
            return place;
        }
    }
    return std::nullopt;
}

/// The module of a weight or bias; nothing for other tensors.
std::optional<std::string> moduleOfWeight(const std::string &weight) {
    for (const std::string end : {".weight", ".bias"}) {
        if (endsWith(weight, end)) return weight.substr(0, weight.size() - end.size());
    }
    return std::nullopt;
}

} // namespace

std::map<std::string, std::string> loraModules(const std::vector<std::string> &weights) {
    const ModuleNames unet = unetNames(outlineOf({weights.begin(), weights.end()}));
    std::map<std::string, std::string> modules;
    std::map<std::vector<int>, std::string> listed;
    for (const auto &weight : weights) {
        const auto module = moduleOfWeight(weight);
        if (!module) continue;
        if (const auto inside = after(*module, kUnetPrefix)) {
            const std::string diffusers = unet.diffusers(*inside);
            for (const auto &name : {diffusers, *inside}) {
                modules.emplace("unet." + name, *module);
                modules.emplace("lora_unet_" + underscored(name), *module);
                modules.emplace("lycoris_" + underscored(name), *module);
            }
            if (const auto place = placeInList(diffusers)) listed.emplace(*place, *module);
            continue;
        }
        for (const TextNames &text : kTextNames) {
            const auto inside = after(*module, text.prefix);
            if (!inside) continue;
            // Since transformers 5 without the model in between.
            for (const auto &name : {*inside, after(*inside, "text_model.").value_or(*inside)}) {
                modules.emplace(text.diffusers + name, *module);
                for (const char *kohya : text.kohya) {
                    if (kohya) modules.emplace(kohya + underscored(name), *module);
                }
            }
        }
    }
    int index = 0;
    for (const auto &[place, module] : listed) modules.emplace(listedModule(index++), module);
    return modules;
}

std::string listedModule(int index) { return "#" + std::to_string(index); }

std::optional<std::string> sameInFirstTextLayer(const std::string &module) {
    if (!startsWith(module, "text_encoder") && !startsWith(module, "lora_te")) return std::nullopt;
    for (const std::string part : {"encoder.layers.", "encoder_layers_"}) {
        const auto at = module.find(part);
        if (at == std::string::npos) continue;
        const std::size_t begin = at + part.size();
        std::size_t end = begin;
        while (end < module.size() && isDigit(module[end])) end++;
        const bool isNumber = end > begin && (end == begin + 1 || module[begin] != '0');
        if (isNumber) return module.substr(0, begin) + "0" + module.substr(end);
    }
    return std::nullopt;
}

} // namespace magicmix
