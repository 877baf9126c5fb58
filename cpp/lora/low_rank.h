#pragma once

#include "lora/lora_file.h"

#include <vector>

namespace magicmix {

/// Does a module fit a weight of that shape? Throws `MODEL_UNSUPPORTED` naming both shapes: the
/// LoRA is for another network.
void checkFit(const LoraModule &module, const std::vector<std::int64_t> &shape,
              const std::string &path);

/// weights += strength (alpha / rank) up down, `weights` being of the shape `[out, ...]` that was
/// checked. Throws `MODEL_FORMAT` for NaN and infinite values.
void addLowRank(const LoraModule &module, float strength, std::vector<float> &weights);

} // namespace magicmix
