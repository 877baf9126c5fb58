#include "tensor/ggml_ops.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace magicmix {
namespace {

// Convolutions go through a matrix of all patches, attention through a map of all pairs. Above this
// size they are cut into bands, so that memory does not grow with the square of the picture.
constexpr std::int64_t kMaxTemporaryBytes = std::int64_t{192} << 20;
// Where the device has more memory than that is good for, bands may be as large as this part of it.
constexpr std::int64_t kBandsOfMemory = 64;
// Wider heads, such as the one of 512 channels in the VAE, do not fit into a GPU's registers: where
// they are possible at all, they are slower than products with a map between them.
constexpr std::int64_t kMaxFusedHeadWidth = 160;
// Vulkan's product with up to so many columns stops the process if they are in bf16, although
// `supports_op` promises it.
constexpr std::int64_t kMaxColumnsOfNarrowProduct = 8;
// CUDA multiplies f32 in the units for small types where a factor has up to so many columns,
// whatever NVIDIA_TF32_OVERRIDE says.
constexpr std::int64_t kMaxColumnsInTf32 = 16;
// CUDA has no more blocks than that in two of a grid's three axes. Its kernel for padding lays rows
// along one of them, and the two last axes of a tensor together along the other.
constexpr std::int64_t kMostBlocks = 65535;
// Each band is some nodes of a graph, whose number is limited.
constexpr std::int64_t kMaxBands = 32;

std::int64_t ceilDivide(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

/// CUDA's fused attention has fast kernels for these widths of heads.
std::int64_t fastHeadWidth(std::int64_t width) {
    for (const std::int64_t fast : {64, 80, 96, 112, 128, 256}) {
        if (width <= fast) return fast;
    }
    return width;
}

} // namespace

GgmlOps::GgmlOps(Graph &graph, Precision precision)
    : Ops(graph), precision_(precision), onCuda_(graph.device().backendName() == "cuda"),
      maxTemporaryBytes_(kMaxTemporaryBytes) {
    if (!graph.device().isCpu()) {
        const auto memory = static_cast<std::int64_t>(graph.device().memory());
        maxTemporaryBytes_ = std::max(maxTemporaryBytes_, memory / kBandsOfMemory);
    }
}

// ---------------------------------------------------------------------------------------------
// Products

/// The rows of `a` times those of `b`, summed up in f32.
Tensor GgmlOps::product(Tensor a, Tensor b) {
    graph_.requireRoom();
    const std::int64_t columns = b->ne[1];
    const bool exact = onCuda_ && precision_ == Precision::F32 && columns <= kMaxColumnsInTf32;
    if (exact) {
        b = ggml_pad(context_, b, 0, static_cast<int>(kMaxColumnsInTf32 + 1 - columns), 0, 0);
    }
    Tensor y = ggml_mul_mat(context_, a, b);
    ggml_mul_mat_set_prec(y, GGML_PREC_F32); // GPUs would sum up in f16
    if (!exact) return y;
    return ggml_cont(context_, ggml_view_4d(context_, y, y->ne[0], columns, y->ne[2], y->ne[3],
                                            y->nb[1], y->nb[2], y->nb[3], 0));
}

// ---------------------------------------------------------------------------------------------
// Pictures

Tensor GgmlOps::conv2d(Tensor x, const Conv &layer, const Plus &plus, int stride, Padding padding,
                       Keep) {
    const std::int64_t kernel = layer.size;
    int pad = static_cast<int>(kernel - 1) / 2;
    if (padding == Padding::RightBottom) {
        x = ggml_pad_ext(context_, x, 0, 1, 0, 1, 0, 0, 0, 0);
        pad = 0;
    }
    const auto finish = [&](Tensor y) {
        Tensor toChannels = layer.bias ? perChannel(layer.bias) : nullptr;
        if (plus.toChannels) {
            Tensor more = perChannel(plus.toChannels);
            toChannels = toChannels ? ggml_add(context_, more, toChannels) : more;
        }
        if (toChannels) y = ggml_add(context_, y, toChannels);
        return plus.residual ? ggml_add(context_, plus.residual, y) : y;
    };
    if (Tensor direct = directConvolution(x, layer, stride, pad)) return finish(direct);
    return finish(inBands(x, layer, stride, pad));
}

/// So many pictures, or so many rows, at a time that their patches are not too large.
Tensor GgmlOps::inBands(Tensor x, const Conv &layer, int stride, int padding) {
    const std::int64_t kernel = layer.size;
    const std::int64_t outWidth = (x->ne[0] + 2 * padding - kernel) / stride + 1;
    const std::int64_t outHeight = (x->ne[1] + 2 * padding - kernel) / stride + 1;
    const std::int64_t rowBytes =
        kernel * kernel * x->ne[2] * outWidth * static_cast<std::int64_t>(sizeof(float));
    // CUDA's grid for padding, which bands of rows need, has no room for the planes of many
    // pictures.
    const std::int64_t pictures =
        std::max(std::int64_t{1}, maxTemporaryBytes_ / (rowBytes * outHeight));
    if (onCuda_ && pictures < x->ne[3]) {
        std::vector<Tensor> parts;
        for (std::int64_t first = 0; first < x->ne[3]; first += pictures) {
            graph_.requireRoom();
            const std::int64_t count = std::min(pictures, x->ne[3] - first);
            Tensor part =
                ggml_view_4d(context_, x, x->ne[0], x->ne[1], x->ne[2], count, x->nb[1], x->nb[2],
                             x->nb[3], static_cast<std::size_t>(first) * x->nb[3]);
            parts.push_back(inBands(part, layer, stride, padding));
        }
        return concatAll(parts, 3);
    }

    const std::int64_t bandHeight =
        std::max({std::int64_t{1}, maxTemporaryBytes_ / (rowBytes * x->ne[3]),
                  ceilDivide(outHeight, kMaxBands)});
    if (bandHeight >= outHeight) return convolve(x, layer, stride, padding, padding);
    if (padding > 0) x = ggml_pad_ext(context_, x, 0, 0, padding, padding, 0, 0, 0, 0);
    std::vector<Tensor> bands;
    for (std::int64_t y = 0; y < outHeight; y += bandHeight) {
        const std::int64_t rows = std::min(bandHeight, outHeight - y);
        Tensor band = ggml_view_4d(context_, x, x->ne[0], (rows - 1) * stride + kernel, x->ne[2],
                                   x->ne[3], x->nb[1], x->nb[2], x->nb[3],
                                   static_cast<std::size_t>(y * stride) * x->nb[1]);
        bands.push_back(convolve(band, layer, stride, padding, 0));
    }
    return concatAll(bands, 1);
}

/// A convolution without a matrix of patches in memory; null where it would be slower, or the
/// device has no such operation. Vulkan's is the faster way there, CUDA's and the CPU's are the
/// slower.
Tensor GgmlOps::directConvolution(Tensor x, const Conv &layer, int stride, int padding) {
    if (graph_.device().backendName() != "vulkan") return nullptr;
    graph_.requireRoom();
    Tensor y =
        ggml_conv_2d_direct(context_, layer.weight, x, stride, stride, padding, padding, 1, 1);
    return graph_.device().supports(y) ? y : nullptr;
}

/// Patches times kernels. Both factors have the patch along their rows, so that the product comes
/// out with the pixels along its rows: the layout of a picture.
Tensor GgmlOps::convolve(Tensor x, const Conv &layer, int stride, int paddingX, int paddingY) {
    graph_.requireRoom();
    Tensor kernel = layer.weight;
    const bool half = precision_ == Precision::F16;
    Tensor patches = ggml_im2col(context_, kernel, x, stride, stride, paddingX, paddingY, 1, 1,
                                 /*is_2D=*/true, half ? GGML_TYPE_F16 : GGML_TYPE_F32);
    const std::int64_t width = patches->ne[1], height = patches->ne[2], batch = patches->ne[3];
    const std::int64_t patch = kernel->ne[0] * kernel->ne[1] * kernel->ne[2];
    Tensor columns = ggml_reshape_2d(context_, kernel, patch, kernel->ne[3]);
    if (precision_ == Precision::BF16) {
        patches = ggml_cast(context_, patches, GGML_TYPE_BF16);
        if (columns->ne[1] <= kMaxColumnsOfNarrowProduct) {
            columns = ggml_cast(context_, columns, GGML_TYPE_F32);
        }
    }
    if (onCuda_ && half && columns->type == GGML_TYPE_F16) {
        // Of factors that are batches, and of those alone, it multiplies f16 as it is and sums up
        // in f32; others it makes f32 first. (Not bf16: GPUs before Ampere have no such batches of
        // it.)
        const std::int64_t channels = kernel->ne[3];
        if (batch > 1 || channels % 2 == 1) {
            patches = ggml_reshape_3d(context_, patches, patch, width * height, batch);
            Tensor y = product(patches, repeated(columns, batch));
            return ggml_reshape_4d(context_, y, width, height, channels, batch);
        }
        patches = ggml_reshape_2d(context_, patches, patch, width * height);
        columns = ggml_reshape_3d(context_, columns, patch, channels / 2, 2);
        return ggml_reshape_4d(context_, product(patches, columns), width, height, channels, 1);
    }
    patches = ggml_reshape_2d(context_, patches, patch, width * height * batch);
    Tensor y = product(patches, columns);
    if (batch == 1) return ggml_reshape_4d(context_, y, width, height, kernel->ne[3], 1);
    y = ggml_reshape_4d(context_, y, width, height, batch, kernel->ne[3]);
    return ggml_cont(context_, ggml_permute(context_, y, 0, 1, 3, 2));
}

/// The same columns for every picture, without a copy: a step to the next picture is one of 0
/// bytes.
Tensor GgmlOps::repeated(Tensor columns, std::int64_t pictures) {
    Tensor view = ggml_view_3d(context_, columns, columns->ne[0], columns->ne[1], 1, columns->nb[1],
                               columns->nb[2], 0);
    view->ne[2] = pictures; // ggml's own views do not end behind what they are views of
    view->nb[2] = view->nb[3] = 0;
    return view;
}

Tensor GgmlOps::upsampleConv(Tensor picture, Size size, const Conv &layer, Keep) {
    Tensor large = ggml_upscale(context_, picture, 2, GGML_SCALE_MODE_NEAREST);
    if (large->ne[0] != size.width || large->ne[1] != size.height) {
        large = ggml_cont(context_,
                          ggml_view_4d(context_, large, size.width, size.height, large->ne[2],
                                       large->ne[3], large->nb[1], large->nb[2], large->nb[3], 0));
    }
    return conv2d(large, layer, {}, 1, Padding::Same, Keep::Values);
}

Tensor GgmlOps::groupNorm(Tensor picture, const Norm &norm, int groups, float epsilon,
                          Activation activation) {
    Tensor y = ggml_group_norm(context_, picture, groups, epsilon);
    y = ggml_mul(context_, y, perChannel(norm.scale));
    y = ggml_add(context_, y, perChannel(norm.shift));
    return activation == Activation::Silu ? silu(y) : y;
}

// Not ggml_relu: it makes 0 of NaN, and a network that failed would go unseen.
Tensor GgmlOps::relu(Tensor picture) {
    return ggml_mul(context_, picture, ggml_step(context_, picture));
}

Tensor GgmlOps::concatChannels(Tensor a, Tensor b) { return ggml_concat(context_, a, b, 2); }

Tensor GgmlOps::toSequence(Tensor picture) {
    Tensor flat = ggml_reshape_3d(context_, picture, picture->ne[0] * picture->ne[1],
                                  picture->ne[2], picture->ne[3]);
    return ggml_cont(context_, ggml_permute(context_, flat, 1, 0, 2, 3));
}

Tensor GgmlOps::addToPicture(Tensor picture, Tensor sequence, const Linear &layer) {
    Tensor y = linear(sequence, layer, {});
    Tensor planes = ggml_cont(context_, ggml_permute(context_, y, 1, 0, 2, 3));
    const Size size = sizeOf(picture);
    return add(picture, ggml_reshape_4d(context_, planes, size.width, size.height, planes->ne[1],
                                        planes->ne[2]));
}

// ---------------------------------------------------------------------------------------------
// Sequences

Tensor GgmlOps::linear(Tensor x, const Linear &layer, const Plus &plus) {
    const std::int64_t length = x->ne[1];
    // As in `convolve`: a batch of two halves.
    const bool halved = onCuda_ && layer.weight->type != GGML_TYPE_F32 && ggml_n_dims(x) == 2 &&
                        length % 2 == 0 && length / 2 > kMaxColumnsInTf32;
    if (halved) x = ggml_reshape_3d(context_, x, x->ne[0], length / 2, 2);
    Tensor y = product(layer.weight, x);
    if (halved) y = ggml_reshape_3d(context_, y, y->ne[0], length, 1);
    if (layer.bias) y = ggml_add(context_, y, layer.bias);
    return plus.residual ? ggml_add(context_, plus.residual, y) : y;
}

Tensor GgmlOps::gated(Tensor x, const Linear &layer) {
    return ggml_geglu_erf_swapped(context_, linear(x, layer, {}));
}

Tensor GgmlOps::layerNorm(Tensor x, const Norm &norm, float epsilon) {
    return finalLayerNorm(x, norm, epsilon);
}

Tensor GgmlOps::attention(Tensor queries, Tensor keys, Tensor values, int heads, Mask mask) {
    if (mask == Mask::None) {
        if (Tensor fused = fusedAttention(queries, keys, values, heads)) return fused;
    }
    const auto split = [&](Tensor x, int axis0, int axis1) { // {d, heads, T, N} to another order
        x = ggml_reshape_4d(context_, x, x->ne[0] / heads, heads, x->ne[1], x->ne[2]);
        return ggml_cont(context_, ggml_permute(context_, x, axis0, 2, axis1, 3));
    };
    Tensor q = split(queries, 0, 1), k = split(keys, 0, 1), v = split(values, 1, 0);
    const std::int64_t width = q->ne[0], length = q->ne[1], batch = q->ne[3];
    const float scale = 1.0f / std::sqrt(static_cast<float>(width));

    const std::int64_t mapBytes =
        k->ne[1] * length * heads * batch * static_cast<std::int64_t>(sizeof(float));
    const std::int64_t bands =
        mask == Mask::Causal ? 1 : std::min(kMaxBands, ceilDivide(mapBytes, maxTemporaryBytes_));
    const std::int64_t bandLength = ceilDivide(length, bands);

    std::vector<Tensor> parts;
    for (std::int64_t first = 0; first < length; first += bandLength) {
        graph_.requireRoom();
        const std::int64_t n = std::min(bandLength, length - first);
        Tensor band = n == length
                          ? q
                          : ggml_view_4d(context_, q, width, n, heads, batch, q->nb[1], q->nb[2],
                                         q->nb[3], static_cast<std::size_t>(first) * q->nb[1]);
        Tensor map = product(k, band);
        if (mask == Mask::Causal) {
            map = ggml_soft_max(context_,
                                ggml_diag_mask_inf(context_, ggml_scale(context_, map, scale), 0));
        } else {
            map = ggml_soft_max_ext(context_, map, nullptr, scale, 0.0f);
        }
        Tensor mixed = product(v, map); // {d, n, heads, N}
        mixed = ggml_cont(context_, ggml_permute(context_, mixed, 0, 2, 1, 3));
        parts.push_back(ggml_reshape_3d(context_, mixed, width * heads, n, batch));
    }
    return concatAll(parts, 1);
}

/// Rows of `width` values with so many zeros behind each.
Tensor GgmlOps::widened(Tensor rows, std::int64_t width, std::int64_t more) {
    const std::int64_t count = ggml_nelements(rows) / width;
    std::int64_t together = std::min(count, kMostBlocks);
    while (count % together != 0) together--;
    rows = ggml_reshape_3d(context_, rows, width, together, count / together);
    return ggml_pad(context_, rows, static_cast<int>(more), 0, 0, 0);
}

/// So many pictures at a time.
Tensor GgmlOps::attentionInParts(Tensor queries, Tensor keys, Tensor values, int heads,
                                 std::int64_t pictures) {
    std::vector<Tensor> parts;
    for (std::int64_t first = 0; first < queries->ne[2]; first += pictures) {
        const std::int64_t count = std::min(pictures, queries->ne[2] - first);
        const auto part = [&](Tensor x) {
            return ggml_view_3d(context_, x, x->ne[0], x->ne[1], count, x->nb[1], x->nb[2],
                                static_cast<std::size_t>(first) * x->nb[2]);
        };
        Tensor fused = fusedAttention(part(queries), part(keys), part(values), heads);
        if (!fused) return nullptr;
        parts.push_back(fused);
    }
    return concatAll(parts, 2);
}

/// Attention without a map in memory; null where the device has no such operation, which depends on
/// the width of the heads too. On the CPU ggml's is slower than products with a map between them.
Tensor GgmlOps::fusedAttention(Tensor queries, Tensor keys, Tensor values, int heads) {
    if (graph_.device().isCpu()) return nullptr;
    const std::int64_t width = queries->ne[0] / heads;
    if (width > kMaxFusedHeadWidth) return nullptr;
    const bool inF32 = precision_ == Precision::F32;
    if (onCuda_ && inF32) return nullptr; // it would make f16 of keys and values
    graph_.requireRoom();
    const ggml_type type = inF32 ? GGML_TYPE_F32 : GGML_TYPE_F16;
    // Columns of zeros change nothing.
    const std::int64_t more = onCuda_ ? fastHeadWidth(width) - width : 0;
    // CUDA's kernels find the queries of a picture by an offset of 32 bits.
    const std::int64_t bytesOfPicture =
        (width + more) * heads * queries->ne[1] * static_cast<std::int64_t>(sizeof(float));
    const std::int64_t pictures =
        std::max(std::int64_t{1}, std::numeric_limits<std::int32_t>::max() / bytesOfPicture);
    if (onCuda_ && pictures < queries->ne[2]) {
        return attentionInParts(queries, keys, values, heads, pictures);
    }
    const auto split = [&](Tensor x) { // {d, heads, T, N}
        const std::int64_t length = x->ne[1], batch = x->ne[2];
        if (more > 0) x = widened(x, width, more);
        return ggml_reshape_4d(context_, x, width + more, heads, length, batch);
    };
    const auto turned = [&](Tensor x) { return ggml_permute(context_, x, 0, 2, 1, 3); };
    const auto factor = [&](Tensor x) { // {d, T, heads, N}
        if (onCuda_) return turned(ggml_cast(context_, split(x), type));
        x = turned(split(x));
        return type == x->type ? ggml_cont(context_, x) : ggml_cast(context_, x, type);
    };
    Tensor q = turned(split(queries));
    if (!onCuda_) q = ggml_cont(context_, q);
    const float scale = 1.0f / std::sqrt(static_cast<float>(width));
    Tensor fused =
        ggml_flash_attn_ext(context_, q, factor(keys), factor(values), nullptr, scale, 0.0f, 0.0f);
    ggml_flash_attn_ext_set_prec(fused, GGML_PREC_F32);
    if (!graph_.device().supports(fused)) return nullptr;
    if (more > 0) {
        fused = ggml_cont(context_,
                          ggml_view_4d(context_, fused, width, fused->ne[1], fused->ne[2],
                                       fused->ne[3], fused->nb[1], fused->nb[2], fused->nb[3], 0));
    }
    return ggml_reshape_3d(context_, fused, queries->ne[0], queries->ne[1], queries->ne[2]);
}

// ---------------------------------------------------------------------------------------------

Tensor GgmlOps::perChannel(Tensor values) {
    return ggml_reshape_4d(context_, values, 1, 1, values->ne[0], values->ne[1]);
}

/// Pairwise, so that every value is copied only log2(parts) times.
Tensor GgmlOps::concatAll(const std::vector<Tensor> &parts, int axis) {
    if (parts.size() == 1) return parts.front();
    std::vector<Tensor> joined;
    for (std::size_t i = 0; i + 1 < parts.size(); i += 2) {
        joined.push_back(ggml_concat(context_, parts[i], parts[i + 1], axis));
    }
    if (parts.size() % 2 == 1) joined.push_back(parts.back());
    return concatAll(joined, axis);
}

} // namespace magicmix
