#pragma once

#include "checkpoint/stored_tensor.h"

namespace magicmix {

/// Reads the header of a safetensors file: 8 bytes of length, JSON, values.
/// Believes nothing: lengths, types, shapes, offsets, overlaps and duplicate names are checked.
/// Throws `MODEL_FORMAT` naming the tensor and the expectation.
StoredTensors readSafetensors(const std::string &path);

/// Does `file` start as a safetensors file does?
bool looksLikeSafetensors(const MappedFile &file);

} // namespace magicmix
