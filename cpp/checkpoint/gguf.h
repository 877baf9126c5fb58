#pragma once

#include "base/cancellation.h"
#include "checkpoint/stored_tensor.h"
#include "model/model_config.h"

namespace magicmix {

struct GgufFile {
    StoredTensors tensors;
    ModelConfig config; ///< from `kConfigurationKey`, if it is there
};

/// Reads the head of a GGUF file of version 2 or 3, little-endian: key-value pairs, descriptions of
/// tensors, values. Believes nothing: counts, lengths, nesting, types, shapes, offsets, overlaps
/// and duplicate names are checked, and nothing is kept but the tensors, the configuration, and the
/// original shapes that ComfyUI's tools note for tensors which were flattened to be quantised
/// (`comfy.gguf.orig_shape.NAME`). Throws `MODEL_FORMAT` or `MODEL_UNSUPPORTED`.
GgufFile readGguf(const std::shared_ptr<const InputFile> &file, const Cancellation &cancel);

/// Does `file` start as a GGUF file does?
bool looksLikeGguf(const InputFile &file);

} // namespace magicmix
