#include "tensor/ops.h"

#include "tensor/ggml_ops.h"
#include "tensor/kernel_ops.h"

namespace magicmix {

Linear declareLinear(Weights &weights, const std::string &name, int in, int out, Bias bias) {
    Linear layer;
    layer.shape.in = in;
    layer.shape.out = out;
    layer.weight = weights.factor(name + ".weight", {out, in}, layer.shape);
    if (bias == Bias::Yes) layer.bias = weights.vector(name + ".bias", out);
    return layer;
}

Linear declareGated(Weights &weights, const std::string &name, int in, int out) {
    Linear layer;
    layer.shape.in = in;
    layer.shape.out = 2 * out;
    layer.shape.gated = true;
    layer.weight = weights.factor(name + ".weight", {2 * out, in}, layer.shape);
    layer.bias = weights.vector(name + ".bias", 2 * out);
    return layer;
}

Conv declareConv(Weights &weights, const std::string &name, int in, int out, int kernel,
                 Bias bias) {
    Conv layer;
    layer.size = kernel;
    layer.shape.in = in;
    layer.shape.out = out;
    layer.shape.taps = kernel * kernel;
    layer.weight = weights.factor(name + ".weight", {out, in, kernel, kernel}, layer.shape);
    if (bias == Bias::Yes) layer.bias = weights.vector(name + ".bias", out);
    return layer;
}

Norm declareNorm(Weights &weights, const std::string &name, int channels) {
    return {weights.vector(name + ".weight", channels), weights.vector(name + ".bias", channels)};
}

Ops::Ops(Graph &graph) : graph_(graph), context_(graph.context()) {}

Tensor Ops::add(Tensor a, Tensor b) { return ggml_add(context_, a, b); }

Tensor Ops::normConv(Tensor picture, const Norm &norm, int groups, float epsilon, const Conv &layer,
                     const Plus &plus, Keep keep) {
    Tensor normal = groupNorm(picture, norm, groups, epsilon, Activation::Silu);
    return conv2d(normal, layer, plus, 1, Padding::Same, keep);
}

Tensor Ops::lastConv(Tensor picture, const Conv &layer, Tensor) {
    return conv2d(picture, layer, {}, 1, Padding::Same, Keep::Factors);
}

Tensor Ops::silu(Tensor x) { return ggml_silu(context_, x); }

Tensor Ops::gelu(Tensor x) { return ggml_gelu_erf(context_, x); }

// Not ggml_gelu_quick: on the CPU that one looks its values up in a table of f16.
Tensor Ops::quickGelu(Tensor x) {
    return ggml_mul(context_, x, ggml_sigmoid(context_, ggml_scale(context_, x, 1.702f)));
}

Tensor Ops::rows(Tensor table, Tensor ids) { return ggml_get_rows(context_, table, ids); }

Tensor Ops::finalLayerNorm(Tensor x, const Norm &norm, float epsilon) {
    Tensor y = ggml_mul(context_, ggml_norm(context_, x, epsilon), norm.scale);
    return ggml_add(context_, y, norm.shift);
}

void Ops::stage(const std::string &name, Tensor tensor) { graph_.stage(name, tensor); }

void Ops::stagePicture(const std::string &name, Tensor picture) {
    if (graph_.keepsStages()) graph_.stage(name, toPlanes(picture));
}

std::unique_ptr<Ops> makeOps(Graph &graph, Precision precision) {
    if (const auto *kernels = graph.device().kernels(precision)) {
        return std::make_unique<KernelOps>(graph, *kernels);
    }
    return std::make_unique<GgmlOps>(graph, precision);
}

} // namespace magicmix
