#pragma once

#include "checkpoint/json.h"
#include "model/model_config.h"

namespace magicmix {

/// Under this key our own GGUF and safetensors files keep, as JSON text, what `configurationOf`
/// gives.
constexpr const char *kConfigurationKey = "magicmix.config";

/// The configurations of a model's parts in diffusers' naming: objects for "unet", "vae",
/// "text_encoder", "text_encoder_2", "scheduler", "tinyDecoder" and "model_index", each of which
/// may be missing. `where` names the source in messages. Throws `MODEL_FORMAT`.
ModelConfig readConfiguration(const Json &parts, const std::string &where);

/// The reverse; only declared values.
Json configurationOf(const ModelConfig &config);

} // namespace magicmix
