#pragma once

#include "base/cancellation.h"
#include "checkpoint/stored_tensor.h"
#include "model/model_config.h"

#include <string>
#include <vector>

namespace magicmix {

/// The decoder of a tiny autoencoder (TAESD).
struct TinyDecoderFile {
    StoredTensors tensors; ///< as model/tiny_decoder.h names them, with the prefix
    ModelConfig::TinyDecoder config;
    std::vector<std::string> unknown; ///< names of what is not the decoder's: the other half
};

/// Reads it from a folder as diffusers writes it (AutoencoderTiny), by itself or as the autoencoder
/// of a whole model, or with `taesd_decoder.safetensors` or `.pth` (of XL `taesdxl_decoder`); or
/// from a file of any format with the names of either. One of other latents is refused as far as
/// names and the configuration say so: the latents of Stable Diffusion XL have the same shape.
/// `ofXl`: those are wanted. Throws `MODEL_NOT_FOUND`, `MODEL_FORMAT` or `MODEL_UNSUPPORTED`.
TinyDecoderFile readTinyDecoder(const std::string &path, bool ofXl, const Cancellation &cancel);

} // namespace magicmix
