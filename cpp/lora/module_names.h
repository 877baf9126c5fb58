#pragma once

#include <map>
#include <string>
#include <vector>

namespace magicmix {

/// The names of a model's weights in LoRA files: from the names of modules to the original names of
/// weights. Of every weight of the UNet and the text encoder there are the names of
///
/// - diffusers and PEFT: "unet.down_blocks.0.attentions.0.proj_in",
///   "text_encoder.text_model.encoder.layers.0.mlp.fc1";
/// - kohya's scripts, the same with underscores: "lora_unet_down_blocks_0_attentions_0_proj_in",
///   "lora_te_text_model_encoder_layers_0_mlp_fc1";
/// - kohya's scripts with the original blocks: "lora_unet_input_blocks_1_1_proj_in".
std::map<std::string, std::string> loraModules(const std::vector<std::string> &weights);

} // namespace magicmix
