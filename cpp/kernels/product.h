#pragma once

// Products and convolutions.

#include "kernels/numbers.h"
#include "kernels/tile.h"

namespace magicmix::kernels {
namespace {

/// Rows whose sums are in the cache while parts of a panel pass by.
template <typename S>
constexpr int blockRows = 16 * S::rows;
/// Of a part of a panel; half of a usual second-level cache and less.
constexpr int kPanelBytes = 256 * 1024;

template <typename S>
constexpr Storage operandStorage() {
    return S::depth == 2 ? Storage::BF16 : Storage::F32;
}

/// Inputs that a panel of operands has room for.
template <typename S>
int inStride(const WeightShape &shape) {
    return roundUp(paddedInputs(shape), S::padding);
}

template <typename S>
int panelCount(const WeightShape &shape) {
    const int width = shape.gated ? S::lanes : panelWidth<S>;
    return ((shape.gated ? shape.out / 2 : shape.out) + width - 1) / width;
}

template <typename S>
int tapsAtOnce(const WeightShape &shape) {
    if (shape.storage == Storage::Blocks) return shape.taps; // blocks go across the taps
    const int bytes =
        inStride<S>(shape) * panelWidth<S> * static_cast<int>(sizeof(typename S::Operand));
    return least(most(kPanelBytes / bytes, 1), shape.taps);
}

/// Weights of a panel as operands, of those that are kept in another form.
template <typename S>
struct Unpacked {
    typename S::Operand *values; ///< of some taps
    float *row;                  ///< [in, taps]: a channel of Blocks
    const void *from = nullptr;
    int panel = -1; ///< of Blocks

    Unpacked(Arena &arena, const WeightShape &shape, int taps)
        : values(shape.storage == operandStorage<S>()
                     ? nullptr
                     : arena.take<typename S::Operand>(std::int64_t{taps} * inStride<S>(shape) *
                                                       panelWidth<S>)),
          row(shape.storage == Storage::Blocks
                  ? arena.take<float>(std::int64_t{shape.in} * shape.taps)
                  : nullptr) {}
};

template <typename S>
struct ProductMemory {
    float *sums;                      ///< [blockRows, panelWidth]
    const typename S::Operand **rows; ///< [taps, S::rows]
    typename S::Operand *zeros;       ///< [in]: a pixel beyond the border
    Unpacked<S> unpacked;

    ProductMemory(Arena &arena, const WeightShape &shape)
        : sums(arena.take<float>(blockRows<S> * panelWidth<S>)),
          rows(arena.take<const typename S::Operand *>(shape.taps * S::rows)),
          zeros(arena.take<typename S::Operand>(inStride<S>(shape))),
          unpacked(arena, shape, tapsAtOnce<S>(shape)) {}
};

template <typename S>
std::size_t productScratch(const Product &product) {
    Arena arena(nullptr);
    ProductMemory<S> memory(arena, product.shape);
    return arena.used();
}

template <typename S>
void unpackHalves(const std::uint16_t *halves, std::int64_t count, Storage storage, float *out) {
    constexpr int width = panelWidth<S>;
    if (storage == Storage::F16) {
        for (std::int64_t i = 0; i < count; i += S::lanes)
            S::store(out + i, S::loadF16(halves + i));
        return;
    }
    for (std::int64_t i = 0; i < count; i += 2 * width) {
        for (int n = 0; n < width; n += S::lanes) {
            S::store(out + i + n, S::firstOfPairs(halves + i + 2 * n));
            S::store(out + i + width + n, S::secondOfPairs(halves + i + 2 * n));
        }
    }
}

template <typename S>
void unpackQ8(const std::byte *blocks, std::int64_t count, typename S::Operand *out) {
    constexpr int width = panelWidth<S>;
    for (std::int64_t i = 0; i < count; i += kQ8Block * width, out += kQ8Block * width) {
        const auto *factors = reinterpret_cast<const std::uint16_t *>(blocks);
        const auto *bytes = reinterpret_cast<const std::int8_t *>(factors + width);
        blocks += packedBytes(Storage::Q8, kQ8Block * width);
        for (int n = 0; n < width; n += S::lanes) {
            const auto factor = S::loadF16(factors + n);
            const auto at = [&](int k) {
                return S::mul(factor, S::loadBytes(bytes + k * width + n));
            };
            for (int k = 0; k < kQ8Block; k += S::depth) {
                if constexpr (S::depth == 2) {
                    S::storePairs(out + k * width + 2 * n, at(k), at(k + 1));
                } else {
                    S::store(out + k * width + n, at(k));
                }
            }
        }
    }
}

/// A whole panel of weights that are kept in blocks, as operands.
template <typename S>
const typename S::Operand *unpackBlocks(const Product &p, int panel, Unpacked<S> &unpacked) {
    if (unpacked.panel == panel) return unpacked.values;
    unpacked.panel = panel;
    constexpr int width = panelWidth<S>;
    const WeightShape &shape = p.shape;
    const int stride = inStride<S>(shape);
    const auto *weights = static_cast<const std::byte *>(p.weights);
    for (int column = 0; column < width; column++) {
        const int channel = channelInPanel(shape, S::lanes, panel, column);
        const std::int64_t count = std::int64_t{shape.in} * shape.taps;
        if (channel >= 0)
            shape.blocks.unpack(weights + channel * rowBytes(shape), unpacked.row, count);
        for (int tap = 0; tap < shape.taps; tap++) {
            // Inputs lie `depth` side by side.
            auto *to = unpacked.values + std::int64_t{tap} * stride * width + column * S::depth;
            for (int i = 0; i < stride; i++) {
                const bool there = channel >= 0 && i < shape.in;
                storeTo<Scalar>(to + i / S::depth * S::depth * width + i % S::depth,
                                there ? unpacked.row[i * shape.taps + tap] : 0.0f);
            }
        }
    }
    return unpacked.values;
}

/// Packed weights of some taps as operands: where they lie if they are, else unpacked.
template <typename S>
const typename S::Operand *operandPanel(const void *packed, std::int64_t count, Storage storage,
                                        Unpacked<S> &unpacked) {
    if (storage == operandStorage<S>()) return static_cast<const typename S::Operand *>(packed);
    if (unpacked.from == packed) return unpacked.values;
    unpacked.from = packed;
    if (storage == Storage::Q8) {
        unpackQ8<S>(static_cast<const std::byte *>(packed), count, unpacked.values);
    } else if constexpr (S::depth == 1) {
        unpackHalves<S>(static_cast<const std::uint16_t *>(packed), count, storage,
                        unpacked.values);
    }
    return unpacked.values;
}

/// The weights of some taps of a panel, as operands.
template <typename S>
const typename S::Operand *weightsOf(const Product &p, int panel, int tap, int taps,
                                     Unpacked<S> &unpacked) {
    const WeightShape &shape = p.shape;
    if (shape.storage == Storage::Blocks) return unpackBlocks<S>(p, panel, unpacked);
    const std::int64_t count = std::int64_t{inStride<S>(shape)} * panelWidth<S>; // of a tap
    const auto *packed =
        static_cast<const std::byte *>(p.weights) +
        packedBytes(shape.storage, (std::int64_t{panel} * shape.taps + tap) * count);
    return operandPanel<S>(packed, taps * count, shape.storage, unpacked);
}

/// Whether a pixel of the enlarged picture is one.
inline bool isInside(const Product &p, int y, int x) {
    return y >= 0 && x >= 0 && y < p.height * p.magnify && x < p.width * p.magnify &&
           (p.magnify == 1 || (y < p.outHeight && x < p.outWidth));
}

/// Where the patch of every row of a tile begins, for every tap.
template <typename S>
void findPatches(const Product &p, std::int64_t first, int rowCount, ProductMemory<S> &memory) {
    const auto *x = static_cast<const typename S::Operand *>(p.x);
    const int stride = operandRow<S>(p.shape.in);
    const std::int64_t outPixels = std::int64_t{p.outHeight} * p.outWidth;
    for (int r = 0; r < rowCount; r++) {
        const std::int64_t image = (first + r) / outPixels, pixel = (first + r) % outPixels;
        const int outY = static_cast<int>(pixel / p.outWidth);
        const int outX = static_cast<int>(pixel % p.outWidth);
        const typename S::Operand **row = memory.rows + r;
        for (int ky = 0; ky < p.kernel; ky++) {
            for (int kx = 0; kx < p.kernel; kx++, row += S::rows) {
                const int y = outY * p.stride + ky - p.padding + p.rowsAbove;
                const int xx = outX * p.stride + kx - p.padding;
                *row = isInside(p, y, xx)
                           ? x + ((image * p.height + y / p.magnify) * p.width + xx / p.magnify) *
                                     stride
                           : memory.zeros;
            }
        }
    }
}

/// Everything that is added to the sums on their way into the result.
template <typename S>
void finish(const Product &p, std::int64_t row, int panel, const float *sums) {
    const WeightShape &shape = p.shape;
    if (shape.gated) {
        const int out = shape.out / 2, first = panel * S::lanes;
        const int stride = operandRow<S>(out);
        auto *result = static_cast<typename S::Operand *>(p.result) + row * stride;
        across<S>(least(S::lanes, out - first), [&](auto vectors, int i) {
            using T = decltype(vectors);
            const int c = first + i;
            auto value = T::load(sums + i), gate = T::load(sums + S::lanes + i);
            if (p.bias) {
                value = T::add(value, T::load(p.bias + c));
                gate = T::add(gate, T::load(p.bias + out + c));
            }
            storeTo<T>(result + c, T::mul(value, gelu<T>(gate)));
        });
        if (first + S::lanes >= out) padRow<S>(result, out);
        return;
    }
    using Operand = typename S::Operand;
    const int first = panel * panelWidth<S>, operandStep = operandRow<S>(shape.out);
    const float *bias2 = p.bias2;
    if (p.bias2PerImage) bias2 += row / (std::int64_t{p.outHeight} * p.outWidth) * shape.out;
    across<S>(least(panelWidth<S>, shape.out - first), [&](auto vectors, int i) {
        using T = decltype(vectors);
        const int c = first + i;
        const std::int64_t plain = row * shape.out + c, operand = row * operandStep + c;
        auto value = T::load(sums + i);
        if (p.bias) value = T::add(value, T::load(p.bias + c));
        if (bias2) value = T::add(value, T::load(bias2 + c));
        if (p.residual && p.operandResidual) {
            value = T::add(value, loadFrom<T>(static_cast<const Operand *>(p.residual) + operand));
        } else if (p.residual) {
            value = T::add(value, T::load(static_cast<const float *>(p.residual) + plain));
        }
        if (p.operandResult) {
            storeTo<T>(static_cast<Operand *>(p.result) + operand, value);
        } else {
            T::store(static_cast<float *>(p.result) + plain, value);
        }
    });
    if (p.operandResult && first + panelWidth<S> >= shape.out) {
        padRow<S>(static_cast<Operand *>(p.result) + row * operandStep, shape.out);
    }
}

template <typename S>
void productBlock(const Product &p, int panel, std::int64_t first, int rowCount,
                  ProductMemory<S> &memory) {
    const int taps = p.shape.taps, stride = inStride<S>(p.shape), atOnce = tapsAtOnce<S>(p.shape);
    for (int tap = 0; tap < taps; tap += atOnce) {
        const int some = least(atOnce, taps - tap);
        const typename S::Operand *weights = weightsOf<S>(p, panel, tap, some, memory.unpacked);
        for (int r = 0; r < rowCount; r += S::rows) {
            const int rows = least(S::rows, rowCount - r);
            findPatches<S>(p, first + r, rows, memory);
            tileOf<S, 2>(rows, memory.rows + tap * S::rows, some, p.shape.in, weights, stride,
                         memory.sums + r * panelWidth<S>, panelWidth<S>, tap > 0);
        }
    }
    for (int r = 0; r < rowCount; r++) {
        finish<S>(p, first + r, panel, memory.sums + r * panelWidth<S>);
    }
}

template <typename S>
void product(const Product &p, void *scratch, int part, int parts) {
    Arena arena(scratch);
    ProductMemory<S> memory(arena, p.shape);
    for (int i = 0; i < inStride<S>(p.shape); i++) memory.zeros[i] = 0;

    const int panels = panelCount<S>(p.shape);
    const std::int64_t rows = std::int64_t{p.images} * p.outHeight * p.outWidth;
    const std::int64_t blocks = (rows + blockRows<S> - 1) / blockRows<S>;
    const Share share(panels * blocks, part, parts);
    for (std::int64_t task = share.begin; task < share.end; task++) {
        const std::int64_t first = task % blocks * blockRows<S>;
        const int count = static_cast<int>(least(std::int64_t{blockRows<S>}, rows - first));
        productBlock<S>(p, static_cast<int>(task / blocks), first, count, memory);
    }
}

} // namespace
} // namespace magicmix::kernels
