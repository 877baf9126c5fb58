#pragma once

#include "lora/lora_change.h"
#include "lora/peft_config.h"
#include "lora/tensor_names.h"

#include <map>

namespace magicmix {

/// The tensors of a module, by what they are to it.
using LoraParts = std::map<LoraPart, TensorPointer>;

/// Puts together what a file holds of one module. Throws `MODEL_FORMAT` if a part is missing or is
/// left over.
LoraModule moduleOf(const std::string &name, const LoraParts &parts, const PeftConfig &config,
                    const std::string &path);

} // namespace magicmix
