#pragma once

#include "model/architecture.h"
#include "tensor/ops.h"

namespace magicmix {

/// CLIP's text transformer (Radford et al. 2021), as in transformers' `CLIPTextModel`. OpenCLIP's,
/// in Stable Diffusion 2.x, has another activation and is used without its last layer, which
/// checkpoint/ leaves out.
class TextEncoder {
public:
    TextEncoder(Weights &weights, const TextEncoderConfig &config);

    /// `ids` and `positions` are i32 `{77}`; gives the states after the final norm, `{width, 77,
    /// 1}`.
    Tensor encode(Ops &ops, Tensor ids, Tensor positions) const;

    int width() const { return config_.width; }

private:
    struct Layer {
        Norm norm1, norm2;
        Linear q, k, v, out;
        Linear fc1, fc2;
    };

    TextEncoderConfig config_;
    Tensor tokenEmbedding_, positionEmbedding_;
    std::vector<Layer> layers_;
    Norm finalNorm_;
};

} // namespace magicmix
