#pragma once

#include "model/architecture.h"
#include "tensor/ops.h"

#include <memory>

namespace magicmix {

/// Projected text states of one cross-attention: `{channels, 77, N}`, the heads side by side.
struct KeysValues {
    Tensor keys = nullptr, values = nullptr;
};

/// The denoiser of Stable Diffusion 1.x and 2.x (Rombach et al. 2022, Ho et al. 2020): a UNet of
/// ResBlocks and transformers that see the prompt through cross-attention.
class UNet {
public:
    UNet(Weights &weights, const UNetConfig &config);

    /// Keys and values of every cross-attention, in the order of execution, of text states
    /// `{contextWidth, 77, N}`. They depend on the prompt only, not on the timestep.
    std::vector<KeysValues> context(Ops &ops, Tensor textStates) const;

    /// The shift that every ResBlock adds to its channels, `{channels, N}`, in the order of
    /// execution, at the timesteps with the features `{., N}`. It depends on nothing else.
    std::vector<Tensor> timeShifts(Ops &ops, Tensor features) const;
    const std::vector<int> &timeWidths() const { return timeWidths_; }

    /// Predicted noise `{w, h, 4, N}` in latents `{w, h, 4, N}` of any size, given what
    /// `timeShifts` gave for one timestep and what `context` gave.
    Tensor predict(Ops &ops, Tensor latents, const std::vector<Tensor> &timeShifts,
                   const std::vector<KeysValues> &context) const;

    /// Sinusoids of a training timestep, cosines first: the input of the time embedding.
    std::vector<float> timestepFeatures(double timestep) const;

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
    struct Transformer {
        Norm norm;
        Linear in, out;
        Norm norm1, norm2, norm3;
        Attention self, cross;
        Linear feedIn, feedOut;
        int heads = 0;
        std::size_t index = 0; // among all cross-attentions
    };
    struct Level {
        std::vector<ResBlock> resBlocks;
        std::vector<Transformer> transformers; // one per ResBlock, or none
        Conv resample;                         // no weight on the last level of a way
    };

    ResBlock declareResBlock(Weights &weights, const std::string &name, int in, int out);
    Transformer declareTransformer(Weights &weights, const std::string &name, int channels,
                                   int heads);

    Tensor resBlock(Ops &ops, Tensor x, Tensor timeShift, const ResBlock &block) const;
    Tensor transformer(Ops &ops, Tensor x, const Transformer &block,
                       const KeysValues &context) const;

    UNetConfig config_;
    Linear time0_, time2_;
    Conv in_;
    std::vector<Level> down_, up_; // in the order of execution
    struct Middle {
        ResBlock before, after;
        Transformer transformer;
    };
    std::unique_ptr<const Middle> middle_;
    Norm outNorm_;
    Conv out_;
    std::vector<int> crossWidths_, timeWidths_;
    std::vector<Linear> timeWeights_;
    std::vector<Attention> crossWeights_;
};

} // namespace magicmix
