#pragma once

#include "checkpoint/stored_tensor.h"

#include <optional>
#include <string>

namespace magicmix {

/// Has the file a text encoder named as OpenCLIP does it (`cond_stage_model.model.`)? Original
/// files of Stable Diffusion 2.x have.
bool hasOpenClipText(const StoredTensors &tensors);

/// All tensors, those of such a text encoder under the names that transformers gives them and that
/// Stable Diffusion 1.x has, the same for the two of XL. What fuses queries, keys and values
/// becomes three parts of it; what is not needed for text states keeps its name.
StoredTensors withTransformersNames(StoredTensors tensors);

/// How original files of XL call a tensor of the second text encoder, which transformers calls
/// `name`.
struct OpenClipName {
    std::string name;
    int part = 0, parts = 1; ///< which of the parts that are fused there, in their order
    bool turned = false;     ///< a matrix with rows and columns exchanged
};
/// Nothing for other tensors.
std::optional<OpenClipName> openClipName(const std::string &name);

} // namespace magicmix
