#pragma once

#include "checkpoint/stored_tensor.h"

namespace magicmix {

/// Has the file a text encoder named as OpenCLIP does it (`cond_stage_model.model.`)? Original
/// files of Stable Diffusion 2.x have.
bool hasOpenClipText(const StoredTensors &tensors);

/// All tensors, those of such a text encoder under the names that transformers gives them and that
/// Stable Diffusion 1.x has, the same for the two of XL. What fuses queries, keys and values
/// becomes three parts of it; what is not needed for text states keeps its name.
StoredTensors withTransformersNames(const StoredTensors &tensors);

} // namespace magicmix
