#pragma once

#include "model/architecture.h"
#include "tensor/ops.h"

namespace magicmix {

/// CLIP's text transformer (Radford et al. 2021), as in transformers' `CLIPTextModel`. OpenCLIP's,
/// in Stable Diffusion 2.x and XL, has another activation. In 2.x it is used without its last
/// layer, which checkpoint/ leaves out. In XL it gives a vector of the whole prompt as well, as in
/// transformers' `CLIPTextModelWithProjection`.
class TextEncoder {
public:
    TextEncoder(Weights &weights, const TextEncoderConfig &config);

    struct Output {
        Tensor states; ///< `{width, 77, 1}`
        /// `{pooledWidth, 77, 1}`, of which the row at the end of the text is the prompt's vector;
        /// null if the encoder has none.
        Tensor pooled;
    };
    /// `ids` and `positions` are i32 `{77}`.
    Output encode(Ops &ops, Tensor ids, Tensor positions) const;

    const TextEncoderConfig &config() const { return config_; }

private:
    struct Layer {
        Norm norm1, norm2;
        Linear q, k, v, out;
        Linear fc1, fc2;
    };

    TextEncoderConfig config_;
    Tensor tokenEmbedding_, positionEmbedding_;
    std::vector<Layer> layers_;
    Norm finalNorm_;    // not declared if nothing goes through it
    Linear projection_; // of the pooled vector
};

} // namespace magicmix
