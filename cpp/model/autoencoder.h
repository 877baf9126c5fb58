#pragma once

#include "model/architecture.h"
#include "tensor/ops.h"

namespace magicmix {

/// The KL autoencoder of Stable Diffusion (Rombach et al. 2022): pictures to latents of an eighth
/// of their size, and back.
class Autoencoder {
public:
    Autoencoder(Weights &weights, const AutoencoderConfig &config);

    /// A picture `{W, H, 3, 1}` in -1..1 to the moments `{W/8, H/8, 8, 1}`: mean, then log
    /// variance.
    Tensor encode(Ops &ops, Tensor picture) const;
    /// A latent `{w, h, 4, 1}`, not scaled, to a picture `{8w, 8h, 3, 1}` of about -1..1.
    Tensor decode(Ops &ops, Tensor latent) const;

    double scalingFactor() const { return config_.scalingFactor; }
    const std::vector<double> &latentRgb() const { return config_.latentRgb; }

private:
    struct ResBlock {
        Norm norm1, norm2;
        Conv conv1, conv2;
        Conv skip; // no weight where the channels stay the same
    };
    struct Attention {
        Norm norm;
        Linear q, k, v, out;
    };
    struct Middle {
        ResBlock block1, block2;
        Attention attention;
    };
    struct Level {
        std::vector<ResBlock> blocks;
        Conv resample; // no weight on the last level of a way
    };

    ResBlock declareResBlock(Weights &weights, const std::string &name, int in, int out) const;
    Middle declareMiddle(Weights &weights, const std::string &name, int channels) const;

    Tensor resBlock(Ops &ops, Tensor x, const ResBlock &block) const;
    Tensor attention(Ops &ops, Tensor x, const Attention &attention) const;
    Tensor middle(Ops &ops, Tensor x, const Middle &middle) const;
    Tensor normConv(Ops &ops, Tensor x, const Norm &norm, const Conv &layer, const Plus &plus = {},
                    Keep keep = Keep::Values) const;

    AutoencoderConfig config_;
    Conv encoderIn_, encoderOut_, quant_;
    Conv decoderIn_, decoderOut_, postQuant_;
    Norm encoderNorm_, decoderNorm_;
    std::vector<Level> down_; // from fine to coarse
    std::vector<Level> up_;   // from coarse to fine
    Middle encoderMiddle_, decoderMiddle_;
};

} // namespace magicmix
