#pragma once

#include "base/cancellation.h"
#include "checkpoint/stored_tensor.h"
#include "model/model_config.h"

#include <functional>
#include <string>
#include <vector>

namespace magicmix {

/// An autoencoder by itself.
struct VaeFile {
    StoredTensors tensors; ///< by original name, as in a whole checkpoint
    ModelConfig::Vae config;
    std::vector<std::string> leftover; ///< names that no autoencoder of Stable Diffusion has
};

/// From the names that an autoencoder's tensors have in a file, without the prefix of a whole
/// checkpoint, to the original ones; "" for a name that no autoencoder has.
using VaeNaming = std::function<std::string(const std::string &)>;
/// Null if the tensors are none of an autoencoder.
VaeNaming vaeNaming(const StoredTensors &tensors);
/// Those that have the prefix, without it.
StoredTensors vaeOf(const StoredTensors &tensors);

/// Reads the autoencoder of a file of any format, with the names of a whole checkpoint, the same
/// without their prefix, or those of diffusers; or of a folder of diffusers, that of an autoencoder
/// or of a whole model. Throws `MODEL_NOT_FOUND`, `MODEL_FORMAT` or `MODEL_UNSUPPORTED`.
VaeFile readVae(const std::string &path, const Cancellation &cancel);

} // namespace magicmix
