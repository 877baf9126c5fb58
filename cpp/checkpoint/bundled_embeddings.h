#pragma once

#include "checkpoint/stored_tensor.h"

#include <string>
#include <vector>

namespace magicmix {

/// A LoRA's file can bring embeddings along: tensors "bundle_emb.NAME.*", which belong to no
/// weight.
bool isOfBundledEmbedding(const std::string &tensor);

/// The names of all that a file brings along, once each. Throws `MODEL_UNSUPPORTED` for what is no
/// embedding.
std::vector<std::string> bundledEmbeddings(const StoredTensors &tensors, const std::string &path);

/// The vectors of one of them, for the first text encoder of a model or the second; null if there
/// are none.
const StoredTensor *bundledVectors(const StoredTensors &tensors, const std::string &name,
                                   bool second);

} // namespace magicmix
