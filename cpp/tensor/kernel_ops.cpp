#include "tensor/kernel_ops.h"

#include "tensor/alignment.h"

#include <algorithm>
#include <cstring>
#include <functional>

namespace magicmix {
namespace {

// Work is shared out in more pieces than there are threads: one that shares its core with somebody
// else then takes fewer of them.
constexpr int kPiecesPerThread = 4;
// Some 20 microseconds of a core; less is not worth telling anybody of.
constexpr double kWorthSharing = 2e6;
// Of the rows of a picture that are rectified: few enough to stay in the nearest cache.
constexpr std::int64_t kRowsAtOnce = 32;
// Of what is between two operations on a large picture. Rows at the edge of a band are computed
// twice.
constexpr std::size_t kBandBytes = std::size_t{8} << 20;
// A result that decides about the memory of a graph.
constexpr std::int64_t kWorthPlacing = std::int64_t{64} << 20;

/// The work of passing over all values once.
double passOver(Tensor values) { return 16.0 * static_cast<double>(ggml_nelements(values)); }

int toInt(std::int64_t n) { return static_cast<int>(n); }

const float *floats(Tensor tensor) { return static_cast<const float *>(tensor->data); }

/// Where a row of a picture begins.
void *rowOf(Tensor picture, int row) {
    return static_cast<std::byte *>(picture->data) + static_cast<std::size_t>(row) * picture->nb[2];
}

double operationsOf(const kernels::Product &product) {
    const kernels::WeightShape &w = product.shape;
    return 2.0 * product.images * product.outHeight * product.outWidth * w.in * w.taps * w.out;
}

} // namespace

KernelOps::KernelOps(Graph &graph, const kernels::Kernels &kernels) : Ops(graph), k_(kernels) {}

ggml_type KernelOps::operandType() const {
    return k_.bf16Operands ? GGML_TYPE_BF16 : GGML_TYPE_F32;
}

class KernelOps::Share {
public:
    Share(Graph &graph, int pieces) : graph_(graph), pieces_(pieces) {}

    template <typename G>
    void operator()(const G &g) const {
        const auto compute = [&](int piece, int thread) {
            g(graph_.scratch(thread), piece, pieces_);
        };
        graph_.team().run(pieces_, std::cref(compute)); // without allocating
    }

private:
    Graph &graph_;
    int pieces_;
};

template <typename F>
Tensor KernelOps::customInSteps(ggml_type type, const std::vector<std::int64_t> &shape,
                                const std::vector<Tensor> &sources, std::size_t scratchBytes,
                                double operations, const F &f, bool inPlace) {
    graph_.requireRoom();
    graph_.requireScratch(scratchBytes);
    struct Node {
        F f;
        Graph *graph;
        int pieces;
    };
    const auto run = [](Tensor node, int, int, void *data) {
        const auto &self = *static_cast<Node *>(data);
        self.f(node, Share(*self.graph, self.pieces));
    };
    std::vector<std::int64_t> ne = shape;
    ne.resize(GGML_MAX_DIMS, 1);
    std::vector<Tensor> arguments = sources;
    void *data = graph_.keep(Node{f, &graph_, piecesOf(operations)});
    if (inPlace) {
        return ggml_custom_inplace(context_, arguments[0], arguments.data() + 1,
                                   toInt(static_cast<std::int64_t>(arguments.size())) - 1, run,
                                   /*n_tasks=*/1, data);
    }
    return ggml_custom_4d(context_, type, ne[0], ne[1], ne[2], ne[3], arguments.data(),
                          toInt(static_cast<std::int64_t>(arguments.size())), run, /*n_tasks=*/1,
                          data);
}

template <typename F>
Tensor KernelOps::custom(ggml_type type, const std::vector<std::int64_t> &shape,
                         const std::vector<Tensor> &sources, std::size_t scratchBytes,
                         double operations, const F &f, bool inPlace) {
    const auto once = [f](Tensor node, const Share &share) {
        share([&](void *scratch, int part, int parts) { f(node, scratch, part, parts); });
    };
    return customInSteps(type, shape, sources, scratchBytes, operations, once, inPlace);
}

int KernelOps::piecesOf(double operations) const {
    const int threads = graph_.device().threads();
    return threads == 1 || operations < kWorthSharing ? 1 : kPiecesPerThread * threads;
}

// ---------------------------------------------------------------------------------------------
// Where values lie

Tensor KernelOps::fromPlanes(Tensor planes) {
    return ggml_cont(context_, ggml_permute(context_, planes, 1, 2, 0, 3));
}

Tensor KernelOps::toPlanes(Tensor picture) {
    if (picture->type != GGML_TYPE_F32) picture = ggml_cast(context_, picture, GGML_TYPE_F32);
    return ggml_cont(context_, ggml_permute(context_, picture, 2, 0, 1, 3));
}

Tensor KernelOps::toSequence(Tensor picture) {
    return ggml_reshape_3d(context_, picture, picture->ne[0], picture->ne[1] * picture->ne[2],
                           picture->ne[3]);
}

Tensor KernelOps::concatChannels(Tensor a, Tensor b) {
    const auto join = [](Tensor node, void *, int part, int parts) {
        const auto sizeA = static_cast<std::size_t>(node->src[0]->ne[0]) * sizeof(float);
        const auto sizeB = static_cast<std::size_t>(node->src[1]->ne[0]) * sizeof(float);
        const auto *fromA = static_cast<const std::byte *>(node->src[0]->data);
        const auto *fromB = static_cast<const std::byte *>(node->src[1]->data);
        auto *to = static_cast<std::byte *>(node->data);
        const auto rows = static_cast<std::size_t>(ggml_nrows(node));
        const auto first = rows * static_cast<std::size_t>(part) / static_cast<std::size_t>(parts);
        const auto end =
            rows * static_cast<std::size_t>(part + 1) / static_cast<std::size_t>(parts);
        for (std::size_t row = first; row < end; row++) {
            std::memcpy(to + row * (sizeA + sizeB), fromA + row * sizeA, sizeA);
            std::memcpy(to + row * (sizeA + sizeB) + sizeA, fromB + row * sizeB, sizeB);
        }
    };
    return custom(GGML_TYPE_F32, {a->ne[0] + b->ne[0], a->ne[1], a->ne[2], a->ne[3]}, {a, b}, 0,
                  passOver(a) + passOver(b), join);
}

/// f32 values as factors of a product; what is one already stays. Factors in f32 are f32 values.
/// `bytesOfResult`: of the product's.
Tensor KernelOps::toOperand(Tensor x, std::int64_t bytesOfResult) {
    if (x->type == operandType()) return x;
    const auto convert = [k = &k_](Tensor node, void *, int part, int parts) {
        Tensor from = node->src[0];
        k->toOperand(floats(from), ggml_nrows(from), toInt(from->ne[0]), node->data, part, parts);
    };
    std::vector<Tensor> sources{x};
    if (Tensor space = spaceBelow(x, bytesOfResult)) sources.push_back(space);
    return custom(operandType(),
                  {kernels::operandStride(k_, toInt(x->ne[0])), x->ne[1], x->ne[2], x->ne[3]},
                  sources, 0, passOver(x), convert);
}

/// A tensor that nobody looks at, or null if it is not worth it. The factors of a picture are
/// there when the much larger result gets its place, and the picture itself is gone: with the
/// space between both the result fits in below its factors, and ggml's allocator is left without
/// a gap that is too small for anything later. Memory that is never touched costs nothing.
Tensor KernelOps::spaceBelow(Tensor x, std::int64_t bytesOfResult) {
    const auto bytes = bytesOfResult - static_cast<std::int64_t>(ggml_nbytes(x));
    if (bytesOfResult < kWorthPlacing || bytes <= 0) return nullptr;
    const auto nothing = [](Tensor, void *, int, int) {};
    return custom(GGML_TYPE_I8, {bytes}, {}, 0, 0, nothing);
}

/// At once as a factor of the next product: values go through memory only once.
Tensor KernelOps::relu(Tensor picture) {
    const int channels = toInt(picture->ne[0]), stride = kernels::operandStride(k_, channels);
    const auto rectify = [=, k = &k_](Tensor node, void *scratch, int part, int parts) {
        const float *from = floats(node->src[0]);
        auto *to = static_cast<std::byte *>(node->data);
        auto *some = static_cast<float *>(scratch);
        const std::int64_t rows = ggml_nrows(node);
        const std::int64_t first = rows * part / parts, end = rows * (part + 1) / parts;
        for (std::int64_t row = first; row < end; row += kRowsAtOnce) {
            const std::int64_t count = std::min(kRowsAtOnce, end - row);
            for (std::int64_t i = 0; i < count * channels; i++) {
                const float x = from[row * channels + i];
                some[i] = x < 0 ? 0 : x;
            }
            k->toOperand(some, count, channels,
                         to + static_cast<std::size_t>(row * stride) * kernels::operandSize(*k), 0,
                         1);
        }
    };
    const auto scratchBytes = static_cast<std::size_t>(kRowsAtOnce * channels) * sizeof(float);
    return custom(operandType(), {stride, picture->ne[1], picture->ne[2], picture->ne[3]},
                  {picture}, scratchBytes, passOver(picture), rectify);
}

// ---------------------------------------------------------------------------------------------
// Products

/// What goes into a product, and where among the sources of its node.
struct KernelOps::Factors {
    /// The residual comes first: it is then evaluated first, so that the input of a layer that
    /// makes it is freed before this one's takes memory. And it may be where the result is.
    Factors(Tensor x, Tensor weight, Tensor bias, const Plus &plus)
        : residualAt(place(plus.residual)), xAt(place(x)), weightAt(place(weight)),
          biasAt(place(bias)), channelsAt(place(plus.toChannels)) {}

    int place(Tensor source) {
        if (source == nullptr) return -1;
        sources.push_back(source);
        return toInt(static_cast<std::int64_t>(sources.size())) - 1;
    }
    /// With the addresses of everything.
    kernels::Product of(Tensor node, kernels::Product product) const {
        const auto valuesAt = [&](int at) { return at < 0 ? nullptr : floats(node->src[at]); };
        product.x = node->src[xAt]->data;
        product.weights = aligned(node->src[weightAt]->data);
        product.bias = valuesAt(biasAt);
        product.bias2 = valuesAt(channelsAt);
        product.residual = valuesAt(residualAt);
        product.result = node->data;
        return product;
    }

    std::vector<Tensor> sources;
    int residualAt, xAt, weightAt, biasAt, channelsAt;
};

Tensor KernelOps::product(Tensor x, kernels::Product product, Tensor weight, Tensor bias,
                          const Plus &plus, const std::vector<std::int64_t> &shape) {
    const Result result = resultOf(product, plus, shape);
    std::int64_t bytes = static_cast<std::int64_t>(ggml_type_size(result.type));
    for (const std::int64_t length : result.shape) bytes *= length;
    const Factors factors(toOperand(x, bytes), weight, bias, plus);
    const auto run = [=, k = &k_](Tensor node, void *scratch, int part, int parts) {
        k->product(factors.of(node, product), scratch, part, parts);
    };
    return custom(result.type, result.shape, factors.sources, k_.productScratch(product),
                  operationsOf(product), run, result.inPlace);
}

/// Says of `product` what its result and its summands are like.
KernelOps::Result KernelOps::resultOf(kernels::Product &product, const Plus &plus,
                                      const std::vector<std::int64_t> &shape) const {
    product.operandResidual = plus.residual && plus.residual->type != GGML_TYPE_F32;
    product.bias2PerImage = plus.toChannels && plus.toChannels->ne[1] > 1;
    const kernels::WeightShape &w = product.shape;
    const int out = w.gated ? w.out / 2 : w.out;
    const bool operand = w.gated || product.operandResult;
    Result result;
    result.type = operand ? operandType() : GGML_TYPE_F32;
    result.shape = {operand ? kernels::operandStride(k_, out) : out};
    result.shape.insert(result.shape.end(), shape.begin(), shape.end());
    // Every value of it is read where its sum is written.
    result.inPlace = plus.residual && plus.ofResidual == Input::Ends && !operand &&
                     plus.residual->type == GGML_TYPE_F32 && !graph_.keepsStages();
    return result;
}

Tensor KernelOps::conv2d(Tensor picture, const Conv &layer, const Plus &plus, int stride,
                         Padding padding, Keep keep) {
    const kernels::Product p = convolution(picture, layer, stride, padding, keep);
    return product(picture, p, layer.weight, layer.bias, plus, {p.outWidth, p.outHeight, p.images});
}

kernels::Product KernelOps::convolution(Tensor picture, const Conv &layer, int stride,
                                        Padding padding, Keep keep) const {
    const Size size = sizeOf(picture);
    const int around = (layer.size - 1) / 2; // zeros on a side
    kernels::Product p;
    p.images = toInt(picture->ne[3]);
    p.width = toInt(size.width);
    p.height = toInt(size.height);
    p.kernel = layer.size;
    p.stride = stride;
    p.padding = padding == Padding::Same ? around : 0;
    const int zeros = padding == Padding::Same ? 2 * around : 1; // zeros on both sides together
    p.outWidth = (p.width + zeros - layer.size) / stride + 1;
    p.outHeight = (p.height + zeros - layer.size) / stride + 1;
    p.operandResult = keep == Keep::Factors;
    p.shape = layer.shape;
    return p;
}

Tensor KernelOps::upsampleConv(Tensor picture, Size size, const Conv &layer, Keep keep) {
    const Size from = sizeOf(picture);
    kernels::Product p;
    p.images = toInt(picture->ne[3]);
    p.width = toInt(from.width);
    p.height = toInt(from.height);
    p.magnify = 2;
    p.kernel = layer.size;
    p.padding = (layer.size - 1) / 2;
    p.outWidth = toInt(size.width);
    p.outHeight = toInt(size.height);
    p.operandResult = keep == Keep::Factors;
    p.shape = layer.shape;
    return product(picture, p, layer.weight, layer.bias, {}, {p.outWidth, p.outHeight, p.images});
}

Tensor KernelOps::sequenceProduct(Tensor x, const Linear &layer, const Plus &plus,
                                  const std::vector<std::int64_t> &shape) {
    kernels::Product p;
    p.width = p.outWidth = toInt(x->ne[1] * x->ne[2] * x->ne[3]);
    p.height = p.outHeight = 1;
    p.shape = layer.shape;
    return product(x, p, layer.weight, layer.bias, plus, shape);
}

Tensor KernelOps::linear(Tensor x, const Linear &layer, const Plus &plus) {
    return sequenceProduct(x, layer, plus, {x->ne[1], x->ne[2], x->ne[3]});
}

Tensor KernelOps::gated(Tensor x, const Linear &layer) { return linear(x, layer, {}); }

Tensor KernelOps::addToPicture(Tensor picture, Tensor sequence, const Linear &layer) {
    Plus plus;
    plus.residual = picture;
    return sequenceProduct(sequence, layer, plus, {picture->ne[1], picture->ne[2], picture->ne[3]});
}

// ---------------------------------------------------------------------------------------------
// Norms

kernels::GroupNorm KernelOps::groupNormOf(Tensor picture, const Norm &norm, int groups,
                                          float epsilon, Activation activation) {
    kernels::GroupNorm sizes;
    sizes.images = toInt(picture->ne[3]);
    sizes.pixels = toInt(picture->ne[1] * picture->ne[2]);
    sizes.channels = toInt(ggml_nelements(norm.scale));
    sizes.operandX = picture->type != GGML_TYPE_F32;
    sizes.groups = groups;
    sizes.epsilon = epsilon;
    sizes.silu = activation == Activation::Silu;
    return sizes;
}

Tensor KernelOps::statisticsOf(Tensor picture, const kernels::GroupNorm &sizes) {
    const auto measure = [=, k = &k_](Tensor node, void *, int part, int parts) {
        kernels::GroupNorm n = sizes;
        n.x = node->src[0]->data;
        n.statistics = static_cast<float *>(node->data);
        k->groupStatistics(n, part, parts);
    };
    return custom(GGML_TYPE_F32, {1 + 2 * sizes.channels, sizes.images, kernels::kNormSlices},
                  {picture}, 0, passOver(picture), measure);
}

Tensor KernelOps::groupNorm(Tensor picture, const Norm &norm, int groups, float epsilon,
                            Activation activation) {
    const kernels::GroupNorm sizes = groupNormOf(picture, norm, groups, epsilon, activation);
    const auto normalise = [=, k = &k_](Tensor node, void *scratch, int part, int parts) {
        kernels::GroupNorm n = sizes;
        n.x = node->src[0]->data;
        n.statistics = static_cast<float *>(node->src[1]->data);
        n.scale = floats(node->src[2]);
        n.shift = floats(node->src[3]);
        n.result = node->data;
        k->groupNormalise(n, scratch, part, parts);
    };
    return custom(operandType(),
                  {kernels::operandStride(k_, sizes.channels), picture->ne[1], picture->ne[2],
                   picture->ne[3]},
                  {picture, statisticsOf(picture, sizes), norm.scale, norm.shift},
                  k_.normScratch(sizes), passOver(picture), normalise);
}

Tensor KernelOps::layerNorm(Tensor x, const Norm &norm, float epsilon) {
    kernels::LayerNorm sizes;
    sizes.rows = ggml_nrows(x);
    sizes.channels = toInt(x->ne[0]);
    sizes.epsilon = epsilon;
    const auto normalise = [=, k = &k_](Tensor node, void *, int part, int parts) {
        kernels::LayerNorm n = sizes;
        n.x = floats(node->src[0]);
        n.scale = floats(node->src[1]);
        n.shift = floats(node->src[2]);
        n.result = node->data;
        k->layerNorm(n, part, parts);
    };
    return custom(operandType(),
                  {kernels::operandStride(k_, sizes.channels), x->ne[1], x->ne[2], x->ne[3]},
                  {x, norm.scale, norm.shift}, 0, passOver(x), normalise);
}

// ---------------------------------------------------------------------------------------------
// In bands: what is between two operations is never whole

/// Rows of a band whose factors take that many bytes each; 0 if the picture is not worth cutting.
int KernelOps::rowsOfBand(Tensor picture, std::size_t bytesOfRow) const {
    const auto rows = std::max<std::int64_t>(1, static_cast<std::int64_t>(kBandBytes / bytesOfRow));
    const bool isWorth = picture->ne[3] == 1 && rows < picture->ne[2] && !graph_.keepsStages();
    return isWorth ? toInt(rows) : 0;
}

Tensor KernelOps::normConv(Tensor picture, const Norm &norm, int groups, float epsilon,
                           const Conv &layer, const Plus &plus, Keep keep) {
    const auto stride = static_cast<std::size_t>(kernels::operandStride(k_, layer.shape.in));
    const std::size_t bytesOfRow =
        stride * kernels::operandSize(k_) * static_cast<std::size_t>(picture->ne[1]);
    const int rows = rowsOfBand(picture, bytesOfRow);
    if (rows == 0 || plus.toChannels) {
        return Ops::normConv(picture, norm, groups, epsilon, layer, plus, keep);
    }

    const kernels::GroupNorm sizes = groupNormOf(picture, norm, groups, epsilon, Activation::Silu);
    kernels::Product p = convolution(picture, layer, 1, Padding::Same, keep);
    const Result result = resultOf(p, plus, {p.outWidth, p.outHeight, 1});
    Factors factors(picture, layer.weight, layer.bias, plus);
    const int statisticsAt = factors.place(statisticsOf(picture, sizes)),
              scaleAt = factors.place(norm.scale), shiftAt = factors.place(norm.shift);
    const int around = p.padding;
    graph_.requireShared(static_cast<std::size_t>(rows + 2 * around) * bytesOfRow);

    const auto run = [=, k = &k_, graph = &graph_](Tensor node, const Share &share) {
        Tensor x = node->src[factors.xAt];
        for (int first = 0; first < p.height; first += rows) {
            const int end = std::min(first + rows, p.height);
            const int from = std::max(first - around, 0), to = std::min(end + around, p.height);
            kernels::GroupNorm n = sizes;
            n.pixels = (to - from) * p.width;
            n.x = rowOf(x, from);
            n.statistics = static_cast<float *>(node->src[statisticsAt]->data);
            n.scale = floats(node->src[scaleAt]);
            n.shift = floats(node->src[shiftAt]);
            n.result = graph->shared();
            share([&](void *scratch, int part, int parts) {
                k->groupNormalise(n, scratch, part, parts);
            });
            kernels::Product band = factors.of(node, p);
            band.x = n.result;
            band.height = to - from;
            band.rowsAbove = first - from;
            band.outHeight = end - first;
            band.result = rowOf(node, first);
            if (band.residual) band.residual = rowOf(node->src[factors.residualAt], first);
            share([&](void *scratch, int part, int parts) {
                k->product(band, scratch, part, parts);
            });
        }
    };
    return customInSteps(result.type, result.shape, factors.sources,
                         std::max(k_.normScratch(sizes), k_.productScratch(p)),
                         operationsOf(p) * rows / p.height, run, result.inPlace);
}

/// As f32 in the place of the picture, if its factors take at least as much: what is added to it
/// can then lie there as well.
Tensor KernelOps::lastConv(Tensor picture, const Conv &layer, Tensor before) {
    const int out = layer.shape.out;
    const auto width = static_cast<std::size_t>(picture->ne[1]);
    const std::size_t factor = kernels::operandSize(k_);
    const std::size_t bytesOfRow = picture->nb[2], bytesOfResult = out * width * sizeof(float);
    const std::size_t bytesRounded = out * width * factor;
    const int rows = rowsOfBand(picture, bytesOfRow + bytesRounded);
    const bool fits = picture->type == operandType() && bytesOfResult <= bytesOfRow &&
                      kernels::operandStride(k_, out) == out;
    if (rows == 0 || !fits) return Ops::lastConv(picture, layer, before);

    kernels::Product p = convolution(picture, layer, 1, Padding::Same, Keep::Factors);
    resultOf(p, {}, {});
    Factors factors(picture, layer.weight, layer.bias, {});
    factors.place(before); // which is computed first, because it goes in
    const std::size_t bytesOfBand = static_cast<std::size_t>(rows) * bytesOfRow;
    graph_.requireShared(bytesOfBand + static_cast<std::size_t>(rows) * bytesRounded);

    const auto run = [=, k = &k_, graph = &graph_](Tensor node, const Share &share) {
        const auto values = static_cast<std::int64_t>(out * width);
        auto *factorsOfBand = static_cast<std::byte *>(graph->shared());
        for (int first = 0; first < p.height; first += rows) {
            const int count = std::min(rows, p.height - first);
            std::memcpy(factorsOfBand, rowOf(node->src[factors.xAt], first),
                        static_cast<std::size_t>(count) * bytesOfRow);
            kernels::Product band = factors.of(node, p);
            band.x = factorsOfBand;
            band.height = band.outHeight = count;
            band.result = factorsOfBand + bytesOfBand;
            share([&](void *scratch, int part, int parts) {
                k->product(band, scratch, part, parts);
            });
            auto *to = static_cast<float *>(rowOf(node, first));
            if (k->bf16Operands) {
                ggml_bf16_to_fp32_row(static_cast<const ggml_bf16_t *>(band.result), to,
                                      values * count);
            } else {
                std::memcpy(to, band.result, static_cast<std::size_t>(count) * bytesRounded);
            }
        }
    };
    Tensor result = customInSteps(GGML_TYPE_F32, {}, factors.sources, k_.productScratch(p),
                                  operationsOf(p) * rows / p.height, run, /*inPlace=*/true);
    // ggml made it like the picture.
    result->type = GGML_TYPE_F32;
    result->ne[0] = out;
    result->nb[0] = sizeof(float);
    result->nb[1] = sizeof(float) * static_cast<std::size_t>(out);
    result->nb[2] = bytesOfResult;
    result->nb[3] = bytesOfResult * static_cast<std::size_t>(result->ne[2]);
    return result;
}

// ---------------------------------------------------------------------------------------------
// Attention

Tensor KernelOps::attention(Tensor queries, Tensor keys, Tensor values, int heads, Mask mask) {
    kernels::Attention sizes;
    sizes.images = toInt(queries->ne[2]);
    sizes.heads = heads;
    sizes.width = toInt(queries->ne[0]) / heads;
    sizes.queryCount = toInt(queries->ne[1]);
    sizes.keyCount = toInt(keys->ne[1]);
    sizes.causal = mask == Mask::Causal;

    const auto pack = [&](Tensor x, std::int64_t count, auto function) {
        const auto run = [=](Tensor node, void *, int part, int parts) {
            function(sizes, floats(node->src[0]), aligned(node->data), part, parts);
        };
        return custom(operandType(), {withAlignment(count, kernels::operandSize(k_))}, {x}, 0,
                      passOver(x), run);
    };
    Tensor packedKeys = pack(keys, kernels::packedKeysCount(k_, sizes), k_.packKeys);
    Tensor packedValues = pack(values, kernels::packedValuesCount(k_, sizes), k_.packValues);

    const auto attend = [=, k = &k_](Tensor node, void *scratch, int part, int parts) {
        kernels::Attention a = sizes;
        a.queries = floats(node->src[0]);
        a.keys = aligned(node->src[1]->data);
        a.values = aligned(node->src[2]->data);
        a.result = node->data;
        k->attention(a, scratch, part, parts);
    };
    const double operations = 4.0 * sizes.images * heads * sizes.width *
                              static_cast<double>(sizes.queryCount) * sizes.keyCount;
    return custom(
        operandType(),
        {kernels::operandStride(k_, toInt(queries->ne[0])), queries->ne[1], queries->ne[2]},
        {queries, packedKeys, packedValues}, k_.attentionScratch(sizes), operations, attend);
}

} // namespace magicmix
