#pragma once

#include "model/model_config.h"

#include <map>
#include <string>

namespace magicmix {

/// The metadata of a single file about its model, in the words of
/// Stability AI's "modelspec", which trainers write. Anything else is ignored.
ModelConfig configOfModelSpec(const std::map<std::string, std::string> &metadata);

} // namespace magicmix
