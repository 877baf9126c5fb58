#include "lora/tensor_names.h"

#include "base/error.h"
#include "base/text.h"

#include <algorithm>
#include <optional>
#include <utility>

namespace magicmix {
namespace {

using Part = LoraPart;

const std::string kPeftPrefix = "base_model.model.";

// How kohya's scripts, ComfyUI, LyCORIS, PEFT and diffusers through the years end the names of
// tensors. `nameOf` gives the first of a part.
constexpr std::pair<const char *, Part> kEndings[] = {
    {".alpha", Part::Alpha},
    {".lora_down.weight", Part::Down},
    {".lora_up.weight", Part::Up},
    {".lora_mid.weight", Part::Mid},
    {".lora_A.weight", Part::Down},
    {".lora_B.weight", Part::Up},
    {".lora_linear_layer.down.weight", Part::Down},
    {".lora_linear_layer.up.weight", Part::Up},
    {".lora.down.weight", Part::Down},
    {".lora.up.weight", Part::Up},
    {"_lora.down.weight", Part::Down},
    {"_lora.up.weight", Part::Up},
    {".diff", Part::Weight},
    {".diff_b", Part::Bias},
    {".w_norm", Part::Weight},
    {".b_norm", Part::Bias},
    {".dora_scale", Part::Lengths},
    {".lora_magnitude_vector", Part::RowLengths},
    {".lora_magnitude_vector.weight", Part::RowLengths},
    {".hada_w1_a", Part::FirstUp},
    {".hada_w1_b", Part::FirstDown},
    {".hada_t1", Part::FirstMid},
    {".hada_w2_a", Part::SecondUp},
    {".hada_w2_b", Part::SecondDown},
    {".hada_t2", Part::SecondMid},
    {".lokr_w1", Part::LeftWhole},
    {".lokr_w1_a", Part::LeftUp},
    {".lokr_w1_b", Part::LeftDown},
    {".lokr_w2", Part::RightWhole},
    {".lokr_w2_a", Part::RightUp},
    {".lokr_w2_b", Part::RightDown},
    {".lokr_t2", Part::RightMid},
};

// What else is called LoRA, by a part of the names that only it has.
constexpr std::pair<const char *, const char *> kOtherMethods[] = {
    {"boft_", "BOFT"},
    {"oft_", "OFT"},
    {".on_input", "IA3"},
    {".ia3_l", "IA3"},
    {".glora_", "GLoRA"},
    {".a1.weight", "GLoRA"},
    {".a2.weight", "GLoRA"},
    {".b1.weight", "GLoRA"},
    {".b2.weight", "GLoRA"},
    {".vera_", "VeRA"},
    {"lora_embedding_", "a LoRA of a table of tokens"},
    {".lora_B.bias", "a LoRA with a bias of its own (lora_bias)"},
    {".bias_values", "a LoRA with a sparse bias"},
    {".reshape_weight", "weights of another shape than the model's"},
    {".set_weight", "weights that replace the model's"},
};

/// PEFT can leave the adapter's own name in: ".lora_A.NAME.weight", ".hada_w1_a.NAME".
std::optional<std::string> withoutAdapterName(const std::string &name) {
    const std::string weight = ".weight";
    const bool hasWeight = endsWith(name, weight);
    const std::string stem = hasWeight ? name.substr(0, name.size() - weight.size()) : name;
    const auto dot = stem.rfind('.');
    if (dot == std::string::npos || dot + 1 == stem.size()) return std::nullopt;
    const std::string before = stem.substr(0, dot);
    const std::string last = before.substr(std::min(before.rfind('.'), before.size()));
    if (hasWeight) {
        for (const char *part : {".lora_A", ".lora_B", ".lora_magnitude_vector"}) {
            if (last == part) return before + weight;
        }
        return std::nullopt;
    }
    const bool named = last == ".lora_magnitude_vector" || startsWith(last, ".hada_") ||
                       startsWith(last, ".lokr_");
    return named ? std::optional(before) : std::nullopt;
}

/// The old attention processors of diffusers call the text encoder's layers as the UNet's.
std::string withTextAttention(const std::string &module) {
    constexpr std::pair<const char *, const char *> layers[] = {
        {".self_attn.to_q", ".self_attn.q_proj"},
        {".self_attn.to_k", ".self_attn.k_proj"},
        {".self_attn.to_v", ".self_attn.v_proj"},
        {".self_attn.to_out", ".self_attn.out_proj"}};
    for (const auto &[unet, text] : layers) {
        const std::string end = unet;
        if (endsWith(module, end)) return module.substr(0, module.size() - end.size()) + text;
    }
    return module;
}

/// A module's name as `loraModules` has it, without what some tools put around it.
std::string normalised(std::string module) {
    if (startsWith(module, "lora_") || startsWith(module, "lycoris_")) return module;
    const auto drop = [&](const std::string &part) {
        const auto at = module.find(part);
        if (at != std::string::npos) module.erase(at, part.size());
    };
    drop(kPeftPrefix);
    drop(".processor");
    constexpr std::pair<const char *, const char *> prefixes[] = {
        {"model.diffusion_model.", "unet."},
        {"diffusion_model.", "unet."},
        {"text_encoders.clip_l.transformer.", "text_encoder."},
        {"clip_l.transformer.", "text_encoder."},
        {"text_encoders.clip_g.transformer.", "text_encoder_2."},
        {"clip_g.transformer.", "text_encoder_2."}};
    for (const auto &[theirs, ours] : prefixes) {
        if (const auto rest = after(module, theirs)) module = ours + *rest;
    }
    module = withTextAttention(module);
    if (endsWith(module, ".to_out")) module += ".0";
    for (const char *part :
         {"down_blocks.", "mid_block.", "up_blocks.", "time_embedding.", "conv_"}) {
        if (startsWith(module, part)) return "unet." + module;
    }
    for (const char *part : {"text_model.", "encoder.layers.", "final_layer_norm"}) {
        if (startsWith(module, part)) return "text_encoder." + module;
    }
    return module;
}

std::optional<LoraTensorName> parsed(const std::string &name) {
    for (const auto &[text, part] : kEndings) {
        const std::string ending = text;
        if (!endsWith(name, ending) || name == ending) continue;
        return LoraTensorName{normalised(name.substr(0, name.size() - ending.size())), part};
    }
    return std::nullopt;
}

} // namespace

LoraTensorName parseLoraTensor(const std::string &name, const std::string &path) {
    if (const auto known = parsed(name)) return *known;
    if (const auto shorter = withoutAdapterName(name)) {
        if (const auto known = parsed(*shorter)) return *known;
    }
    for (const auto &[part, method] : kOtherMethods) {
        if (!contains(name, part)) continue;
        throw Error("MODEL_UNSUPPORTED",
                    "'" + path + "' holds " + method + " (tensor '" + name +
                        "'); LoRA, LoCon, DoRA, LoHa and LoKr can be used",
                    {{"path", path}, {"tensor", name}});
    }
    throw Error("MODEL_UNSUPPORTED",
                "'" + path + "' has the tensor '" + name + "', which no LoRA has",
                {{"path", path}, {"tensor", name}});
}

std::string nameOf(LoraPart part) {
    for (const auto &[text, each] : kEndings) {
        if (each == part) return std::string(text).substr(1);
    }
    return "";
}

bool isOfPeftAdapter(const std::string &tensor) { return startsWith(tensor, kPeftPrefix); }

} // namespace magicmix
