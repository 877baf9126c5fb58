#pragma once

#include "checkpoint/stored_tensor.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

namespace magicmix {

/// A file in memory with `size` bytes of `data`, by its path. The next call changes it.
std::string memoryFile(const std::uint8_t *data, std::size_t size);

/// Calls `read`. An `Error` is what must come of a bad file; any other exception is a finding.
void expectErrorAtMost(const std::function<void()> &read);

/// Touches the values of all tensors at both ends, so that an offset or a length that lies is
/// found.
void touch(const StoredTensors &tensors);

/// Opens a file or folder as the engine does, up to where networks would be built.
void openAsModel(const std::string &path);

} // namespace magicmix
