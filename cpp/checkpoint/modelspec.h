#pragma once

#include "model/declared_config.h"

#include <map>
#include <string>

namespace magicmix {

/// What the metadata of a single file say of the model in the words of
/// Stability AI's "modelspec", which trainers write. Anything else is ignored.
DeclaredConfig configOfModelSpec(const std::map<std::string, std::string> &metadata);

} // namespace magicmix
