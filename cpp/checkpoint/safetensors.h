#pragma once

#include "checkpoint/stored_tensor.h"

namespace magicmix {

/// Reads the header of a safetensors file: 8 bytes of length, JSON, values.
/// Believes nothing: lengths, types, shapes, offsets, overlaps and duplicate names are checked.
/// Throws `MODEL_FORMAT` naming the tensor and the expectation.
/// `metadata`, if not null, receives the texts under `__metadata__`.
StoredTensors readSafetensors(const std::string &path,
                              std::map<std::string, std::string> *metadata = nullptr);

/// Does `file` start as a safetensors file does?
bool looksLikeSafetensors(const MappedFile &file);

} // namespace magicmix
