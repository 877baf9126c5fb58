#pragma once

#include "tensor/graph.h"
#include "tensor/weights.h"

namespace magicmix {

// The parameters of the layers that networks are made of. A null bias means there is none.
struct Linear {
    Tensor weight = nullptr, bias = nullptr;
};
struct Conv {
    Tensor weight = nullptr, bias = nullptr;
};
struct Norm {
    Tensor scale = nullptr, shift = nullptr;
};

enum class Bias { Yes, No };

Linear declareLinear(Weights &weights, const std::string &name, int in, int out,
                     Bias bias = Bias::Yes);
Conv declareConv(Weights &weights, const std::string &name, int in, int out, int kernel);
Norm declareNorm(Weights &weights, const std::string &name, int channels);

/// Keys `{d, T, heads, N}` and values `{T, d, heads, N}`, as `Ops::attention` wants them.
struct KeysValues {
    Tensor keys = nullptr, values = nullptr;
};

enum class Padding {
    Same,        ///< (k - 1) / 2 zeros on every side
    RightBottom, ///< one zero to the right and below: the VAE encoder's downsampling
};

/// The small set of operations that the networks are written in. Pictures are `{W, H, C, N}`,
/// sequences `{C, T, N}`, both f32. A device that has something faster replaces it here.
class Ops {
public:
    Ops(Graph &graph, Precision precision);

    Tensor linear(Tensor x, const Linear &layer);
    Tensor conv2d(Tensor x, const Conv &layer, int stride = 1, Padding padding = Padding::Same);

    Tensor groupNorm(Tensor x, const Norm &norm, int groups, float epsilon);
    Tensor layerNorm(Tensor x, const Norm &norm, float epsilon);

    Tensor silu(Tensor x);
    /// x sigmoid(1.702 x)
    Tensor quickGelu(Tensor x);
    /// a gelu(b) for the halves a, b of every row; the exact (erf) GELU
    Tensor geglu(Tensor x);

    Tensor add(Tensor a, Tensor b);
    /// Adds one value a channel, `{C}` or `{C, 1}`, to a picture.
    Tensor addToChannels(Tensor picture, Tensor values);
    Tensor concatChannels(Tensor a, Tensor b);
    Tensor rows(Tensor table, Tensor ids);

    /// `{W, H, C, N}` -> `{C, W H, N}`, row-major
    Tensor toSequence(Tensor picture);
    /// `{C, W H, N}` -> `{W, H, C, N}`
    Tensor toPicture(Tensor sequence, std::int64_t width, std::int64_t height);
    /// Twice the size by repeating the nearest pixel, then the top left `width` x `height` of it.
    Tensor upsample(Tensor picture, std::int64_t width, std::int64_t height);

    /// Splits projected keys and values `{C, T, N}` into heads.
    KeysValues keysValues(Tensor keys, Tensor values, int heads);
    enum class Mask { None, Causal };
    /// softmax(q k / sqrt(d)) v of `{C, T, N}` queries, in f32.
    Tensor attention(Tensor queries, const KeysValues &kv, int heads, Mask mask = Mask::None);

    /// Remembers the value of a named block for comparison with a reference.
    void stage(const std::string &name, Tensor tensor) { graph_.stage(name, tensor); }

private:
    Tensor splitHeads(Tensor x, int heads);
    Tensor convolve(Tensor x, const Conv &layer, int stride, int paddingX, int paddingY);
    Tensor perChannel(Tensor values);
    Tensor concatAll(const std::vector<Tensor> &parts, int axis);

    Graph &graph_;
    ggml_context *context_;
    Precision precision_;
};

} // namespace magicmix
