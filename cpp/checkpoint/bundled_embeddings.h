#pragma once

#include "checkpoint/stored_tensor.h"

#include <string>
#include <vector>

namespace magicmix {

/// A LoRA's file can bring embeddings along: tensors "bundle_emb.NAME.*", which belong to no
/// weight.
bool isOfBundledEmbedding(const std::string &tensor);

/// The names of all that a file brings along, once each. Throws `MODEL_UNSUPPORTED` for what is no
/// embedding of Stable Diffusion 1.x or 2.x.
std::vector<std::string> bundledEmbeddings(const StoredTensors &tensors, const std::string &path);

/// The vectors of one of them; null if it is not there.
const StoredTensor *bundledVectors(const StoredTensors &tensors, const std::string &name);

} // namespace magicmix
