#pragma once

#include "tensor/ops.h"

namespace magicmix {

/// The operations on a CPU with kernels of our own: custom operations of ggml that share their work
/// out to the graph's team.
/// Pictures are channels-last, `{C, W, H, N}`: their rows are what matrix products take, so nothing
/// is transposed between convolutions and attention.
class KernelOps : public Ops {
public:
    KernelOps(Graph &graph, const kernels::Kernels &kernels);

    Tensor fromPlanes(Tensor planes) override;
    Tensor toPlanes(Tensor picture) override;
    Size sizeOf(Tensor picture) const override { return {picture->ne[1], picture->ne[2]}; }

    Tensor conv2d(Tensor picture, const Conv &layer, const Plus &plus, int stride, Padding padding,
                  Keep keep) override;
    Tensor upsampleConv(Tensor picture, Size size, const Conv &layer, Keep keep) override;
    Tensor groupNorm(Tensor picture, const Norm &norm, int groups, float epsilon,
                     Activation activation) override;
    Tensor normConv(Tensor picture, const Norm &norm, int groups, float epsilon, const Conv &layer,
                    const Plus &plus, Keep keep) override;
    Tensor lastConv(Tensor picture, const Conv &layer, Tensor before) override;
    Tensor relu(Tensor picture) override;
    Tensor concatChannels(Tensor a, Tensor b) override;
    Tensor toSequence(Tensor picture) override;
    Tensor addToPicture(Tensor picture, Tensor sequence, const Linear &layer) override;

    Tensor linear(Tensor x, const Linear &layer, const Plus &plus) override;
    Tensor gated(Tensor x, const Linear &layer) override;
    Tensor layerNorm(Tensor x, const Norm &norm, float epsilon) override;
    Tensor attention(Tensor queries, Tensor keys, Tensor values, int heads, Mask mask) override;

private:
    Tensor toOperand(Tensor x, std::int64_t bytesOfResult = 0);
    Tensor spaceBelow(Tensor x, std::int64_t bytesOfResult);
    /// Mean and deviation of channels, for the kernels of group norms.
    Tensor statisticsOf(Tensor picture, const kernels::GroupNorm &sizes);
    static kernels::GroupNorm groupNormOf(Tensor picture, const Norm &norm, int groups,
                                          float epsilon, Activation activation);
    kernels::Product convolution(Tensor picture, const Conv &layer, int stride, Padding padding,
                                 Keep keep) const;
    struct Factors;
    struct Result {
        ggml_type type = GGML_TYPE_F32;
        std::vector<std::int64_t> shape;
        bool inPlace = false;
    };
    Result resultOf(kernels::Product &product, const Plus &plus,
                    const std::vector<std::int64_t> &shape) const;
    int rowsOfBand(Tensor picture, std::size_t bytesOfRow) const;
    /// `shape` is that of the result behind its channels.
    Tensor product(Tensor x, kernels::Product product, Tensor weight, Tensor bias, const Plus &plus,
                   const std::vector<std::int64_t> &shape);
    Tensor sequenceProduct(Tensor x, const Linear &layer, const Plus &plus,
                           const std::vector<std::int64_t> &shape);
    ggml_type operandType() const;

    /// Calls `g(scratch, part, parts)` for every part of something, on the graph's team.
    class Share;
    /// A node of the graph: `f(node, scratch, part, parts)` is called for every part. `operations`
    /// says about how much work it is, in floating point operations. `inPlace`: the result lies
    /// where the first source was.
    template <typename F>
    Tensor custom(ggml_type type, const std::vector<std::int64_t> &shape,
                  const std::vector<Tensor> &sources, std::size_t scratchBytes, double operations,
                  const F &f, bool inPlace = false);
    /// A node that does one thing after the other, each shared out: `f(node, share)` calls
    /// `share(g)` for each. `operations` is of one of them.
    template <typename F>
    Tensor customInSteps(ggml_type type, const std::vector<std::int64_t> &shape,
                         const std::vector<Tensor> &sources, std::size_t scratchBytes,
                         double operations, const F &f, bool inPlace = false);
    int piecesOf(double operations) const;

    const kernels::Kernels &k_;
};

} // namespace magicmix
