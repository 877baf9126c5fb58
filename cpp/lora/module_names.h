#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

namespace magicmix {

/// The names of a model's modules in LoRA files: from there to the original names of modules, to
/// which ".weight" and ".bias" belong. Of every module of the UNet and the text encoder there are
/// the names of
///
/// - diffusers and PEFT: "unet.down_blocks.0.attentions.0.proj_in",
///   "text_encoder.text_model.encoder.layers.0.mlp.fc1", the latter without "text_model." too;
/// - kohya's scripts, the same with underscores: "lora_unet_down_blocks_0_attentions_0_proj_in",
///   "lora_te_text_model_encoder_layers_0_mlp_fc1", or "lora_te1_";
/// - LyCORIS by itself: "lycoris_down_blocks_0_attentions_0_proj_in";
/// - all of them with the original blocks: "unet.input_blocks.1.1.proj_in",
///   "lora_unet_input_blocks_1_1_proj_in";
///
/// and `listedModule` for the linear layers of the UNet's attention.
std::map<std::string, std::string> loraModules(const std::vector<std::string> &weights);

/// The name of a module that has only a place in a list: all down blocks, all up blocks, the middle
/// block; the first attention before the second; queries, keys, values, output.
std::string listedModule(int index);

/// For a module of a layer of the text encoder, the name of the same one in the first layer.
std::optional<std::string> sameInFirstTextLayer(const std::string &module);

} // namespace magicmix
