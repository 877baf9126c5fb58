#pragma once

#include "kernels/kernels.h"
#include "tensor/graph.h"
#include "tensor/weights.h"

#include <memory>

namespace magicmix {

// The parameters of the layers that networks are made of. A null bias means there is none.
struct Linear {
    Tensor weight = nullptr, bias = nullptr;
    kernels::WeightShape shape;
};
struct Conv {
    Tensor weight = nullptr, bias = nullptr;
    kernels::WeightShape shape;
    int size = 1; ///< of the kernel: size x size
};
struct Norm {
    Tensor scale = nullptr, shift = nullptr;
};

enum class Bias { Yes, No };

Linear declareLinear(Weights &weights, const std::string &name, int in, int out,
                     Bias bias = Bias::Yes);
/// `out` values and as many gates.
Linear declareGated(Weights &weights, const std::string &name, int in, int out);
Conv declareConv(Weights &weights, const std::string &name, int in, int out, int kernel,
                 Bias bias = Bias::Yes);
Norm declareNorm(Weights &weights, const std::string &name, int channels);

struct Size {
    std::int64_t width = 0, height = 0;
};

enum class Padding {
    Same,        ///< (k - 1) / 2 zeros on every side
    RightBottom, ///< one zero to the right and below: the VAE encoder's downsampling
};
enum class Activation { None, Silu };
enum class Mask { None, Causal };
/// Whether a result can be rounded to what products take, which may be half as large. It can then
/// only go into `groupNorm`, `conv2d` and `Plus::residual`.
enum class Keep { Values, Factors };
/// Whether anything computed later looks at an input again. If not, its memory may take the result.
enum class Input { Stays, Ends };

/// Further summands of the result of a layer; null is nothing.
struct Plus {
    Tensor residual = nullptr; ///< a tensor like the result
    Input ofResidual = Input::Stays;
    Tensor toChannels = nullptr; ///< `{C, 1}` or `{C, N}`: one value per channel, for pictures
};

/// The small set of operations that the networks are written in. How a *picture* lies in memory is
/// the business of `Ops`; a *sequence* is `{C, T, N}`. Values are f32. The results of norms,
/// of `gated` and of `attention` can be rounded to the operand type of the next product: they are
/// made to be factors of `linear` and `conv2d` only.
class Ops {
public:
    virtual ~Ops() = default;

    /// `{W, H, C, N}`, torch's `[N, C, H, W]`, to a picture.
    virtual Tensor fromPlanes(Tensor planes) = 0;
    virtual Tensor toPlanes(Tensor picture) = 0;
    virtual Size sizeOf(Tensor picture) const = 0;

    virtual Tensor conv2d(Tensor picture, const Conv &layer, const Plus &plus = {}, int stride = 1,
                          Padding padding = Padding::Same, Keep keep = Keep::Values) = 0;
    /// Convolves the top left part, of that size, of twice the picture with its pixels repeated.
    virtual Tensor upsampleConv(Tensor picture, Size size, const Conv &layer,
                                Keep keep = Keep::Values) = 0;
    virtual Tensor groupNorm(Tensor picture, const Norm &norm, int groups, float epsilon,
                             Activation activation = Activation::None) = 0;
    /// `conv2d` of silu(`groupNorm`) of a picture. The norm of a large one may never be whole.
    virtual Tensor normConv(Tensor picture, const Norm &norm, int groups, float epsilon,
                            const Conv &layer, const Plus &plus = {}, Keep keep = Keep::Values);
    /// A 1x1 convolution whose values are rounded as factors, of a picture that nothing but
    /// `before` has looked at or will. The result may lie in the picture's memory.
    virtual Tensor lastConv(Tensor picture, const Conv &layer, Tensor before);
    /// max(0, x); what is no number stays so. The result can be rounded as those of norms are, and
    /// can also be a `Plus::residual` or go into `upsampleConv`.
    virtual Tensor relu(Tensor picture) = 0;
    virtual Tensor concatChannels(Tensor a, Tensor b) = 0;
    /// The pixels of a picture as a sequence, row by row.
    virtual Tensor toSequence(Tensor picture) = 0;
    /// `picture` plus the result of `layer` of a sequence of its pixels.
    virtual Tensor addToPicture(Tensor picture, Tensor sequence, const Linear &layer) = 0;

    virtual Tensor linear(Tensor x, const Linear &layer, const Plus &plus = {}) = 0;
    /// a gelu(b) for the halves a, b of what `layer` gives; the exact (erf) GELU.
    virtual Tensor gated(Tensor x, const Linear &layer) = 0;
    virtual Tensor layerNorm(Tensor x, const Norm &norm, float epsilon) = 0;
    /// softmax(q k / sqrt(d)) v of sequences, the heads side by side in their channels.
    virtual Tensor attention(Tensor queries, Tensor keys, Tensor values, int heads,
                             Mask mask = Mask::None) = 0;

    // The same on every device.
    Tensor add(Tensor a, Tensor b);
    Tensor silu(Tensor x);
    /// The exact (erf) GELU.
    Tensor gelu(Tensor x);
    /// x sigmoid(1.702 x)
    Tensor quickGelu(Tensor x);
    Tensor rows(Tensor table, Tensor ids);
    /// A layer norm of f32 values that are a result.
    Tensor finalLayerNorm(Tensor x, const Norm &norm, float epsilon);

    /// Remembers the value of a named block for comparison with a reference.
    void stage(const std::string &name, Tensor tensor);
    void stagePicture(const std::string &name, Tensor picture);

protected:
    explicit Ops(Graph &graph);

    Graph &graph_;
    ggml_context *context_;
};

/// The fastest operations for the device of `graph`.
std::unique_ptr<Ops> makeOps(Graph &graph, Precision precision);

} // namespace magicmix
