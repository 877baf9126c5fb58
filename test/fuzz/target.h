#pragma once

#include "base/cancellation.h"
#include "checkpoint/input_file.h"
#include "checkpoint/stored_tensor.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace magicmix {

/// A file in memory with `size` bytes of `data`, by its path. The next call changes it.
std::string memoryFile(const std::uint8_t *data, std::size_t size);

/// Calls `read`; did it go through? An `Error` is what must come of a bad file; any other exception
/// is a finding.
bool expectErrorAtMost(const std::function<void()> &read);

/// Touches the values of all tensors at both ends, so that an offset or a length that lies is
/// found.
void touch(const StoredTensors &tensors);

/// A file in memory that begins with `head` and is filled up with zeros to `size` bytes.
std::string memoryFile(const std::string &head, std::size_t size);

/// Opens a file or folder as the engine does and inspects it: names, configuration, networks built
/// and checked, the memory of a mix measured. Then touches all of its values.
void openAsModel(const std::string &path);

/// A file of one format: its reader, which gives named tensors; and if that takes the file, the
/// model in it. A file that the reader refuses is refused by `openAsModel` at the same place.
using Reader = std::function<StoredTensors(const std::shared_ptr<const InputFile> &)>;
void readAndOpen(const std::uint8_t *data, std::size_t size, const Reader &reader);

/// Never raised.
const Cancellation &never();

} // namespace magicmix
