#pragma once

#include "checkpoint/stored_tensor.h"

#include <string>
#include <vector>

namespace magicmix {

/// Tells weights apart, in 16 hexadecimal digits: names, types, shapes and samples of the values of
/// those `tensors` whose names start with one of `prefixes`. It is the same wherever they lie:
/// whatever the file's name, folder or format. It takes milliseconds, and is no proof: who wants to
/// can change values that it does not look at.
std::string weightsHash(const StoredTensors &tensors, const std::vector<std::string> &prefixes);

} // namespace magicmix
