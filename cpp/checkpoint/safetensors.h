#pragma once

#include "base/cancellation.h"
#include "checkpoint/stored_tensor.h"
#include "model/model_config.h"

namespace magicmix {

struct SafetensorsFile {
    StoredTensors tensors;
    std::map<std::string, std::string> metadata;
    ModelConfig config; ///< from `kConfigurationKey` of the metadata, if it is there
};

/// Reads the header of a safetensors file: 8 bytes of length, JSON, values.
/// Believes nothing: lengths, types, shapes, offsets, overlaps and duplicate names are checked.
/// Throws `MODEL_FORMAT` naming the tensor and the expectation.
SafetensorsFile readSafetensors(const std::shared_ptr<const InputFile> &file,
                                const Cancellation &cancel);

} // namespace magicmix
