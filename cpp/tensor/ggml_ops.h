#pragma once

#include "tensor/ops.h"

namespace magicmix {

/// The operations made of ggml's own, for every device. Pictures are `{W, H, C, N}`.
class GgmlOps : public Ops {
public:
    GgmlOps(Graph &graph, Precision precision);

    Tensor fromPlanes(Tensor planes) override { return planes; }
    Tensor toPlanes(Tensor picture) override { return picture; }
    Size sizeOf(Tensor picture) const override { return {picture->ne[0], picture->ne[1]}; }

    Tensor conv2d(Tensor picture, const Conv &layer, const Plus &plus, int stride, Padding padding,
                  Keep keep) override;
    Tensor upsampleConv(Tensor picture, Size size, const Conv &layer, Keep keep) override;
    Tensor groupNorm(Tensor picture, const Norm &norm, int groups, float epsilon,
                     Activation activation) override;
    Tensor relu(Tensor picture) override;
    Tensor concatChannels(Tensor a, Tensor b) override;
    Tensor toSequence(Tensor picture) override;
    Tensor addToPicture(Tensor picture, Tensor sequence, const Linear &layer) override;

    Tensor linear(Tensor x, const Linear &layer, const Plus &plus) override;
    Tensor gated(Tensor x, const Linear &layer) override;
    Tensor layerNorm(Tensor x, const Norm &norm, float epsilon) override;
    Tensor attention(Tensor queries, Tensor keys, Tensor values, int heads, Mask mask) override;

private:
    Tensor attentionInParts(Tensor queries, Tensor keys, Tensor values, int heads,
                            std::int64_t pictures);
    Tensor fusedAttention(Tensor queries, Tensor keys, Tensor values, int heads);
    Tensor directConvolution(Tensor x, const Conv &layer, int stride, int padding);
    Tensor convolve(Tensor x, const Conv &layer, int stride, int paddingX, int paddingY);
    Tensor product(Tensor a, Tensor b);
    Tensor widened(Tensor rows, std::int64_t width, std::int64_t more);
    Tensor inBands(Tensor x, const Conv &layer, int stride, int padding);
    Tensor repeated(Tensor columns, std::int64_t pictures);
    Tensor perChannel(Tensor values);
    Tensor concatAll(const std::vector<Tensor> &parts, int axis);

    Precision precision_;
    bool onCuda_;
    std::int64_t maxTemporaryBytes_;
};

} // namespace magicmix
