#pragma once

#include "model/architecture.h"
#include "tensor/ops.h"

namespace magicmix {

/// The decoder of a tiny autoencoder (TAESD; diffusers' AutoencoderTiny): convolutions and ReLUs,
/// distilled from the autoencoder of Stable Diffusion. It takes latents as the UNet does.
class TinyDecoder {
public:
    TinyDecoder(Weights &weights, const TinyDecoderConfig &config);

    /// A latent `{w, h, 4, 1}`, clamped, to a picture `{8w, 8h, 3, 1}` of about 0..1.
    Tensor decode(Ops &ops, Tensor latent) const;
    /// What goes into `decode` of a latent of the UNet: scaled back, and softly within -3..3.
    Latent clamped(const Latent &latent) const;

private:
    struct Block {
        Conv convs[3];
    };
    struct Level {
        std::vector<Block> blocks;
        Conv out; ///< of the enlarged picture; on the last level to colours
    };
    static Tensor block(Ops &ops, Tensor x, const Block &block);

    double scalingFactor_;
    Conv in_;
    std::vector<Level> levels_; // from coarse to fine
};

/// Sizes from the shapes of tensors, which `declared` has to agree with.
/// Throws `MODEL_FORMAT` and `MODEL_UNSUPPORTED`.
TinyDecoderConfig deduceTinyDecoder(const WeightSource &source,
                                    const ModelConfig::TinyDecoder &declared);

} // namespace magicmix
