#pragma once

#include "base/cancellation.h"
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

/// A file in memory that begins with `head` and is filled up with zeros to `size` bytes.
std::string memoryFile(const std::string &head, std::size_t size);

/// Inspects a file or folder as the engine does: names, configuration, networks built and checked,
/// the memory of a mix measured. Then touches all of its values.
void openAsModel(const std::string &path);

/// Never raised.
const Cancellation &never();

} // namespace magicmix
