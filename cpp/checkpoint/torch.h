#pragma once

#include "base/cancellation.h"
#include "checkpoint/stored_tensor.h"

namespace magicmix {

/// Reads what `torch.save` writes, .ckpt, .pt, .pth and .bin alike: a zip archive, or the form from
/// before torch 1.6. The pickle in it is read as data (see pickle.h). Nested dictionaries become
/// dotted names; what trainers put around the weights ("state_dict" beside an optimiser's state) is
/// taken off. Tensors stay in the file, strides and shared storages included.
/// Throws `MODEL_FORMAT` or `MODEL_UNSUPPORTED`.
StoredTensors readTorch(const std::shared_ptr<const InputFile> &file, const Cancellation &cancel);

/// Does `file` start as one of the two forms does?
bool looksLikeTorch(const InputFile &file);

} // namespace magicmix
