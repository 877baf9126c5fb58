#pragma once

#include "checkpoint/json.h"
#include "declared_config.h"

namespace magicmix {

/// What the metadata of a single file, an object of texts, say of the model in the words of
/// Stability AI's "modelspec", which trainers write. Anything else is ignored.
DeclaredConfig configOfModelSpec(const Json &metadata);

} // namespace magicmix
