#pragma once

#include "model/model_config.h"

#include <map>
#include <string>

namespace magicmix {

/// What the metadata of a single file say of the model in the words of
/// Stability AI's "modelspec", which trainers write. Anything else is ignored.
ModelConfig configOfModelSpec(const std::map<std::string, std::string> &metadata);

} // namespace magicmix
