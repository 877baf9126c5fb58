#pragma once

#include "lora/lora_file.h"

#include <string>

namespace magicmix {

/// " (it is one for sdxl)", by the text states that a LoRA's cross-attention takes and the text
/// encoders that it changes; "" where nothing tells, or where these have `contextWidth`, as those
/// of the model at hand.
std::string madeFor(const LoraFile &file, std::int64_t contextWidth);

} // namespace magicmix
