#pragma once

#include "checkpoint/stored_tensor.h"

#include <cstdint>
#include <vector>

namespace magicmix {

/// All values of a tensor. Throws `MODEL_FORMAT` for NaN and infinite ones.
std::vector<float> floatsOf(const StoredTensor &tensor);

/// The value of a tensor that is one number, of whatever type. Throws `MODEL_FORMAT`.
double numberOf(const StoredTensor &tensor);

/// Of a shape whose further axes have length 1.
std::int64_t lengthOf(const StoredTensor &tensor, std::size_t axis);

} // namespace magicmix
