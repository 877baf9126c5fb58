#pragma once

#include "model/architecture.h"
#include "tensor/ops.h"

#include <optional>

namespace magicmix {

/// Projected text states of one cross-attention: `{channels, 77, N}`, the heads side by side.
struct KeysValues {
    Tensor keys = nullptr, values = nullptr;
};

/// What a UNet takes beside the latents. It asks where it uses it, so that a graph of a part of the
/// network has the inputs of that part only.
class UNetInputs {
public:
    virtual ~UNetInputs() = default;
    /// Of `timeShifts` at one timestep: what a ResBlock adds to its channels, `{channels, 1}`, or
    /// `{channels, N}` where there is added conditioning.
    virtual Tensor timeShift(std::size_t resBlock) = 0;
    /// Of `context`: what a cross-attention looks at.
    virtual KeysValues context(std::size_t attention) = 0;
};

/// The denoiser of Stable Diffusion (Rombach et al. 2022, Ho et al. 2020; XL: Podell et al. 2023):
/// a UNet of ResBlocks and transformers that see the prompt through cross-attention.
class UNet {
public:
    UNet(Weights &weights, const UNetConfig &config);

    /// Keys and values of every cross-attention, in the order of execution, of text states
    /// `{contextWidth, 77, N}`. They depend on the prompt only, not on the timestep.
    std::vector<KeysValues> context(Ops &ops, Tensor textStates) const;

    /// The shift that every ResBlock adds to its channels, `{channels, M}`, in the order of
    /// execution, at M timesteps with the features `{., M}`, and with the vectors `{addedWidth, M}`
    /// of the added conditioning, or null if there is none. It depends on nothing else.
    std::vector<Tensor> timeShifts(Ops &ops, Tensor features, Tensor added) const;
    int addedWidth() const { return config_.addedWidth; }
    const std::vector<int> &timeWidths() const { return timeWidths_; }

    struct Prediction {
        Tensor noise;    ///< `{w, h, 4, N}`
        Tensor features; ///< a picture, as `Ops` has them: see `predictOuter`
    };
    /// Predicted noise in latents `{w, h, 4, N}` of any size, and the features that the last
    /// `outerBlocks` blocks of the way up, 1 to `upBlocks()`, begin with.
    Prediction predict(Ops &ops, Tensor latents, UNetInputs &inputs, int outerBlocks = 1) const;

    /// The same noise from the outer blocks alone, and from the features that `predict` gave
    /// (DeepCache, Ma, Fang and Wang 2023, arXiv 2312.00858): features of a timestep nearby are
    /// nearly those of this one. Of the way down it takes what the outer blocks join to theirs.
    Tensor predictOuter(Ops &ops, Tensor latents, UNetInputs &inputs, int outerBlocks,
                        Tensor features) const;

    /// Blocks of the way up, each of which joins what one of the way down has left.
    int upBlocks() const;

    /// Sinusoids of a training timestep, cosines first: the input of the time embedding.
    std::vector<float> timestepFeatures(double timestep) const;

    /// Cross-attentions of the way down, which are the first in the order of execution.
    std::size_t crossesOfWayDown() const { return crossesOfWayDown_; }

    /// Channels of the keys and values of every cross-attention, in the order of execution.
    const std::vector<int> &crossWidths() const { return crossWidths_; }

private:
    struct ResBlock {
        Norm norm1, norm2;
        Conv conv1, conv2;
        Conv skip;             // no weight where the channels stay the same
        std::size_t index = 0; // among all ResBlocks
    };
    struct Attention {
        Linear q, k, v, out;
    };
    struct TransformerBlock {
        Norm norm1, norm2, norm3;
        Attention self, cross;
        Linear feedIn, feedOut;
        std::size_t index = 0; // among all cross-attentions
    };
    struct Transformer {
        Norm norm;
        Linear in, out;
        int heads = 0;
        std::vector<TransformerBlock> blocks;
    };
    struct Level {
        std::vector<ResBlock> resBlocks;
        std::vector<std::optional<Transformer>> transformers; // behind every ResBlock, if any
        Conv resample; // no weight on the last level of a way
    };

    ResBlock declareResBlock(Weights &weights, const std::string &name, int in, int out);
    std::optional<Transformer> declareTransformer(Weights &weights, const std::string &name,
                                                  int channels, int heads, int depth);
    TransformerBlock declareTransformerBlock(Weights &weights, const std::string &name,
                                             int channels);

    std::vector<Tensor> wayDown(Ops &ops, Tensor latents, UNetInputs &inputs, int count) const;
    Tensor throughMiddle(Ops &ops, Tensor x, UNetInputs &inputs) const;
    Tensor wayUp(Ops &ops, Tensor x, std::vector<Tensor> &skips, UNetInputs &inputs, int from,
                 int to) const;
    Tensor noiseOf(Ops &ops, Tensor x) const;

    Tensor block(Ops &ops, Tensor x, UNetInputs &inputs, const Level &level, std::size_t i) const;
    Tensor resBlock(Ops &ops, Tensor x, UNetInputs &inputs, const ResBlock &block) const;
    Tensor transformer(Ops &ops, Tensor x, UNetInputs &inputs, const Transformer &t) const;
    Tensor transformerBlock(Ops &ops, Tensor y, UNetInputs &inputs, const TransformerBlock &block,
                            int heads) const;

    UNetConfig config_;
    Linear time0_, time2_;
    Linear added0_, added2_; // no weights without added conditioning
    Conv in_;
    std::vector<Level> down_, up_; // in the order of execution
    struct Middle {
        std::optional<ResBlock> before, after;
        std::optional<Transformer> transformer;
    } middle_;
    Norm outNorm_;
    Conv out_;
    std::vector<int> crossWidths_, timeWidths_;
    std::size_t crossesOfWayDown_ = 0;
    std::vector<Linear> timeWeights_;
    std::vector<Attention> crossWeights_;
};

} // namespace magicmix
