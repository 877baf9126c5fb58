#include "lora/module_names.h"

#include "base/text.h"
#include "checkpoint/names.h"
#include "model/names.h"

#include <algorithm>
#include <set>

namespace magicmix {
namespace {

const std::string kWeight = ".weight";

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

std::string underscored(std::string module) {
    std::replace(module.begin(), module.end(), '.', '_');
    return module;
}

} // namespace

std::map<std::string, std::string> loraModules(const std::vector<std::string> &weights) {
    const ModuleNames unet = unetNames(outlineOf({weights.begin(), weights.end()}));
    std::map<std::string, std::string> modules;
    for (const auto &weight : weights) {
        if (!endsWith(weight, kWeight)) continue;
        const std::string module = weight.substr(0, weight.size() - kWeight.size());
        if (const auto inside = after(module, kUnetPrefix)) {
            const std::string diffusers = unet.diffusers(*inside);
            modules.emplace("unet." + diffusers, weight);
            modules.emplace("lora_unet_" + underscored(diffusers), weight);
            modules.emplace("lora_unet_" + underscored(*inside), weight);
        } else if (const auto text = after(module, kTransformersPrefix)) {
            modules.emplace("text_encoder." + *text, weight);
            modules.emplace("lora_te_" + underscored(*text), weight);
            modules.emplace("lora_te1_" + underscored(*text), weight);
        }
    }
    return modules;
}

} // namespace magicmix
