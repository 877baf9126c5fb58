#pragma once

#include "checkpoint/json.h"
#include "model/model_config.h"

#include <string>

namespace magicmix {

/// What the configuration of an original checkpoint says (a .yaml of the repositories of CompVis
/// and Stability AI, here as JSON). Throws `MODEL_FORMAT` and `MODEL_UNSUPPORTED`.
ModelConfig readOriginalConfig(const Json &config, const std::string &where);

} // namespace magicmix
