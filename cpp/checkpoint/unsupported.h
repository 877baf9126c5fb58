#pragma once

#include "checkpoint/stored_tensor.h"

namespace magicmix {

/// Refuses, by their names, models of other families than Stable Diffusion 1.x, 2.x and XL, and
/// files that hold a part of a model only. model/architecture.cpp refuses those that only shapes
/// give away. Throws `MODEL_UNSUPPORTED`.
void refuseOtherFamilies(const StoredTensors &tensors, const std::string &path);

/// The same for the UNet of a diffusers folder, in diffusers' naming. `isXl`: the pipeline is one
/// of XL.
void refuseOtherUnets(const StoredTensors &tensors, bool isXl, const std::string &path);

/// The same for a diffusers folder by the name of its pipeline's class.
void refuseOtherPipelines(const std::string &className, const std::string &path);

/// The same by the name of its scheduler's class.
void refuseOtherSchedulers(const std::string &className, const std::string &path);

/// The same for a folder with one part of a model, by the class that its config.json names. Does
/// nothing if that is empty.
void refusePartOfModel(const std::string &className, const std::string &path);

} // namespace magicmix
