#include "checkpoint/unsupported.h"

#include "base/error.h"
#include "base/text.h"
#include "model/names.h"

#include <algorithm>

namespace magicmix {
namespace {

const char *const kWhole = "give a whole checkpoint of Stable Diffusion 1.x, 2.x or XL";
const char *const kLora = "pass it in loras, and a whole checkpoint as the model";
const char *const kEmbedding = "pass it in embeddings, and a whole checkpoint as the model";
const char *const kTiny = "pass it in tinyDecoder, and a whole checkpoint as the model";
const char *const kTextToImage = "give a text-to-image checkpoint of Stable Diffusion 1.x, 2.x or "
                                 "XL; a mix starts from its layout "
                                 "picture without other inputs";

const char *const kRefiner = "the refiner of Stable Diffusion XL";

struct Family {
    const char *sign; ///< what only its names have
    const char *name;
    const char *instead;
};

// First match wins; specific before general.

/// Signs are how names begin.
const Family kByPrefix[] = {
    {"conditioner.embedders.0.model.", kRefiner, kTextToImage},
    {"edm_mean", "Playground 2.5 (EDM)", kWhole},
    {"edm_vpred.", "a model trained to another schedule (EDM)", kWhole},
    {"model.diffusion_model.encoder_hid_proj.", "Kolors", kWhole},
    {"model.diffusion_model.joint_blocks.", "Stable Diffusion 3", kWhole},
    {"joint_blocks.", "Stable Diffusion 3", kWhole},
    {"model.diffusion_model.double_blocks.", "Flux", kWhole},
    {"double_blocks.", "Flux", kWhole},
    {"single_transformer_blocks.", "Flux", kWhole},
    {"model.diffusion_model.clf.", "Stable Cascade", kWhole},
    {"clf.", "Stable Cascade", kWhole},
    {"clip_txt_pooled_mapper.", "Stable Cascade", kWhole},
    {"effnet_mapper.", "Stable Cascade", kWhole},
    {"model.diffusion_model.t_block.", "PixArt", kWhole},
    {"t_block.", "PixArt", kWhole},
    {"adaln_single.", "PixArt", kWhole},
    {"depth_model.", "a depth-to-image model of Stable Diffusion 2", kTextToImage},
    {"low_scale_model.", "an upscaler", kTextToImage},
    {"noise_augmentor.", "an unCLIP model of Stable Diffusion 2", kTextToImage},
    {"model.diffusion_model.time_embed.cond_proj.", "a latent consistency model", kWhole},
    {"control_model.", "a ControlNet", kWhole},
    {"controlnet_cond_embedding.", "a ControlNet", kWhole},
    {"input_hint_block.", "a ControlNet", kWhole},
    {"ip_adapter.", "an IP-Adapter", kWhole},
    {"lora_unet_", "a LoRA", kLora},
    {"lora_te", "a LoRA", kLora},
    {"emb_params", "an embedding (textual inversion)", kEmbedding},
    {"string_to_param", "an embedding (textual inversion)", kEmbedding},
};

/// Signs may be anywhere in a name.
const Family kByPart[] = {
    {".lora_down.", "a LoRA", kLora},
    {".lora_up.", "a LoRA", kLora},
    {".lora_A.", "a LoRA", kLora},
    {".lora_B.", "a LoRA", kLora},
    {".lora.down.", "a LoRA", kLora},
    {".lora.up.", "a LoRA", kLora},
    {".lora_linear_layer.", "a LoRA", kLora},
};

/// Signs are how names begin that have no prefix of their network: the file holds one alone.
const Family kAlone[] = {
    {"input_blocks.", "a UNet without text encoder and autoencoder", kWhole},
    {"down_blocks.", "a UNet without text encoder and autoencoder",
     "give the folder that has unet/, vae/ and text_encoder/"},
    {"encoder.conv_in.", "an autoencoder (VAE) without UNet and text encoder", kWhole},
    {"decoder.conv_in.", "an autoencoder (VAE) without UNet and text encoder", kWhole},
    {"decoder.layers.", "a tiny autoencoder (TAESD)", kTiny},
    {"text_model.", "a text encoder without UNet and autoencoder", kWhole},
    {"transformer.resblocks.", "a text encoder without UNet and autoencoder", kWhole},
    {"encoder.block.", "a T5 text encoder", kWhole},
};

/// Signs are how names of inputs that ours does not have begin, in the UNet of a diffusers folder.
const Family kUnets[] = {
    {"class_embedding.", "a model whose UNet takes more than text (unCLIP, or an upscaler)",
     kTextToImage},
    {"encoder_hid_proj.", "a model whose UNet takes more than text", kTextToImage},
    {"time_embedding.cond_proj.", "a latent consistency model", kWhole},
};

/// Signs may be anywhere in the name of a pipeline's class.
const Family kPipelines[] = {
    {"StableDiffusion3", "Stable Diffusion 3", kWhole},
    {"Flux", "Flux", kWhole},
    {"StableCascade", "Stable Cascade", kWhole},
    {"PixArt", "PixArt", kWhole},
    {"Inpaint", "an inpainting model", kTextToImage},
    {"Depth", "a depth-to-image model", kTextToImage},
    {"Upscale", "an upscaler", kTextToImage},
    {"UnCLIP", "an unCLIP model", kTextToImage},
    {"ControlNet", "a ControlNet", kWhole},
    {"Pix2Pix", "a model that edits pictures by instruction", kTextToImage},
    {"ImageVariation", "a model of variations of pictures", kTextToImage},
    {"LatentConsistency", "a latent consistency model", kWhole},
    {"Kolors", "Kolors", kWhole},
};

/// Signs may be anywhere in the name of a scheduler's class.
const Family kSchedulers[] = {
    {"EDM", "Playground 2.5, or another model trained to its schedule (EDM)", kWhole},
};

/// Classes that a folder with one part of a model names.
const Family kComponents[] = {
    {"UNet2DConditionModel", "a UNet alone",
     "give the folder above it, with unet/, vae/ and text_encoder/"},
    {"AutoencoderKL", "an autoencoder (VAE) alone",
     "give the folder above it, with unet/, vae/ and text_encoder/"},
    {"AutoencoderTiny", "a tiny autoencoder (TAESD) alone", kTiny},
    {"CLIPTextModel", "a text encoder alone",
     "give the folder above it, with unet/, vae/ and text_encoder/"},
    {"ControlNet", "a ControlNet", kWhole},
    {"Flux", "Flux", kWhole},
    {"SD3Transformer", "Stable Diffusion 3", kWhole},
    {"StableCascade", "Stable Cascade", kWhole},
    {"PixArt", "PixArt", kWhole},
};

[[noreturn]] void refuse(const Family &family, const std::string &path, const std::string &kind,
                         const std::string &sign) {
    throw Error("MODEL_UNSUPPORTED",
                "'" + path + "' is " + family.name + " (" + kind + " '" + sign +
                    "'), which cannot be mixed with; " + family.instead,
                {{"family", family.name}, {kind, sign}, {"path", path}});
}

/// What a UNet takes beside the timestep, by the width of its vector, tells XL from others.
void refuseOtherVectors(const StoredTensors &tensors, const std::string &path,
                        const std::string &tensor, bool isXl) {
    const auto found = tensors.find(tensor);
    if (found == tensors.end() || found->second.shape.size() != 2) return;
    constexpr std::int64_t ofXl = 1280 + 6 * 256, ofRefiner = 1280 + 5 * 256;
    const std::int64_t width = found->second.shape[1];
    if (width == ofRefiner) refuse({"", kRefiner, kTextToImage}, path, "tensor", tensor);
    if (isXl || width == ofXl) return;
    refuse({"", "a model whose UNet takes more than text (unCLIP, or an upscaler)", kTextToImage},
           path, "tensor", tensor);
}

void refuseByPrefix(const Family &family, const StoredTensors &tensors, const std::string &path) {
    if (!hasPrefix(tensors, family.sign)) return;
    refuse(family, path, "tensor", tensors.lower_bound(family.sign)->first);
}

/// A few vectors of a text encoder's width under plain names, which are their words.
bool looksLikeEmbedding(const StoredTensors &tensors) {
    return !tensors.empty() && std::all_of(tensors.begin(), tensors.end(), [](const auto &entry) {
        const auto &shape = entry.second.shape;
        const bool vectors = shape.size() == 1 || (shape.size() == 2 && shape[0] <= 77);
        return !contains(entry.first, ".") && vectors &&
               (shape.back() == 768 || shape.back() == 1024 || shape.back() == 1280);
    });
}

} // namespace

void refuseOtherFamilies(const StoredTensors &tensors, const std::string &path) {
    for (const Family &family : kByPrefix) refuseByPrefix(family, tensors, path);
    for (const Family &family : kByPart) {
        for (const auto &[name, tensor] : tensors) {
            if (contains(name, family.sign)) refuse(family, path, "tensor", name);
        }
    }
    if (hasPrefix(tensors, kUnetPrefix)) {
        const bool isXl = hasPrefix(tensors, "conditioner.embedders.") ||
                          hasPrefix(tensors, "cond_stage_model.1.");
        return refuseOtherVectors(tensors, path, kUnetPrefix + std::string("label_emb.0.0.weight"),
                                  isXl);
    }
    for (const Family &family : kAlone) refuseByPrefix(family, tensors, path);
    if (looksLikeEmbedding(tensors)) {
        refuse({"", "an embedding (textual inversion)", kEmbedding}, path, "tensor",
               tensors.begin()->first);
    }
}

void refuseOtherUnets(const StoredTensors &tensors, bool isXl, const std::string &path) {
    for (const Family &family : kUnets) refuseByPrefix(family, tensors, path);
    refuseOtherVectors(tensors, path, "add_embedding.linear_1.weight", isXl);
}

void refuseOtherPipelines(const std::string &className, const std::string &path) {
    if (className.empty()) return;
    for (const Family &family : kPipelines) {
        if (contains(className, family.sign)) refuse(family, path, "pipeline", className);
    }
    if (!startsWith(className, "StableDiffusion") && className != "MagicMixPipeline") {
        refuse({"", "of an unknown family", kWhole}, path, "pipeline", className);
    }
}

void refuseOtherSchedulers(const std::string &className, const std::string &path) {
    for (const Family &family : kSchedulers) {
        if (contains(className, family.sign)) refuse(family, path, "scheduler", className);
    }
}

void refusePartOfModel(const std::string &className, const std::string &path) {
    if (className.empty()) return;
    for (const Family &family : kComponents) {
        if (contains(className, family.sign)) refuse(family, path, "class", className);
    }
    refuse({"", "one part of a model", kWhole}, path, "class", className);
}

} // namespace magicmix
