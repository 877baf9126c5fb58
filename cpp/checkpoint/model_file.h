#pragma once

#include "base/cancellation.h"
#include "checkpoint/stored_tensor.h"
#include "model/model_config.h"

namespace magicmix {

/// One file of any format that is read: its tensors under the names that they have there.
struct ModelFile {
    std::string format; ///< "safetensors", "gguf" or "ckpt"
    StoredTensors tensors;
    ModelConfig config;                          ///< what the file itself declares
    std::map<std::string, std::string> metadata; ///< of safetensors
};

/// Tells the format by the first bytes, not by the file's name.
/// Throws `MODEL_NOT_FOUND`, `MODEL_FORMAT` or `MODEL_UNSUPPORTED`.
ModelFile readModelFile(const std::string &path, const Cancellation &cancel);

} // namespace magicmix
