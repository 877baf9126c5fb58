#pragma once

// The kernels, written once in terms of the vectors `S` of an instruction set. Only the files that
// are compiled for one (avx2.cpp ...) include this. Nothing here may be shared with code that is
// compiled for another machine: all is in a namespace without a name, and the standard library's
// templates are not used.

#include "kernels/kernels.h"
#include "kernels/simd_scalar.h"

namespace magicmix::kernels {
namespace {

constexpr int roundUp(int n, int step) { return (n + step - 1) / step * step; }
constexpr std::int64_t roundUp(std::int64_t n, std::int64_t step) {
    return (n + step - 1) / step * step;
}
template <typename T>
T least(T a, T b) {
    return a < b ? a : b;
}
template <typename T>
T most(T a, T b) {
    return a > b ? a : b;
}

/// Bounds of the share `part` of `parts` of `count` things.
struct Share {
    std::int64_t begin, end;
    Share(std::int64_t count, int part, int parts)
        : begin(count * part / parts), end(count * (part + 1) / parts) {}
};

/// Calls `f(vectors, first)` for all of `count` values: with `S`, then one by one.
template <typename S, typename F>
void across(int count, F f) {
    int i = 0;
    for (; i + S::lanes <= count; i += S::lanes) f(S(), i);
    for (; i < count; i++) f(Scalar(), i);
}

/// Stores as the operand type of `S`, with the vectors `T`: those of `S` or scalars.
template <typename T>
void storeTo(float *p, typename T::V x) {
    T::store(p, x);
}
template <typename T>
void storeTo(std::uint16_t *p, typename T::V x) {
    T::store(p, x);
}

template <typename T>
typename T::V loadFrom(const float *p) {
    return T::load(p);
}
template <typename T>
typename T::V loadFrom(const std::uint16_t *p) {
    return T::loadBf16(p);
}

/// Values of a row of operands.
template <typename S>
constexpr int operandRow(int channels) {
    return roundUp(channels, S::depth);
}

/// Memory that a thread brings, handed out in pieces that begin at cache lines.
class Arena {
public:
    explicit Arena(void *memory) : at_(static_cast<char *>(memory)) {}
    template <typename T>
    T *take(std::int64_t count) {
        T *piece = reinterpret_cast<T *>(at_);
        at_ += roundUp(count * static_cast<std::int64_t>(sizeof(T)), std::int64_t{64});
        return piece;
    }
    /// With no memory at all: how much would have been handed out.
    std::size_t used() const { return reinterpret_cast<std::size_t>(at_); }

private:
    char *at_;
};

// ---------------------------------------------------------------------------------------------
// Functions of numbers

/// 2^x, to 2e-7 of its value; 0 below -126. The Taylor series of 2^r for |r| <= 1/2.
template <typename T>
typename T::V exp2(typename T::V x) {
    x = T::min(T::max(x, T::set(-126.0f)), T::set(127.0f));
    const auto whole = T::round(x);
    const auto r = T::sub(x, whole);
    auto sum = T::set(1.5403530e-4f);
    sum = T::fma(sum, r, T::set(1.3333558e-3f));
    sum = T::fma(sum, r, T::set(9.6181291e-3f));
    sum = T::fma(sum, r, T::set(5.5504109e-2f));
    sum = T::fma(sum, r, T::set(2.4022651e-1f));
    sum = T::fma(sum, r, T::set(6.9314718e-1f));
    sum = T::fma(sum, r, T::set(1.0f));
    return T::mul(sum, T::pow2(whole));
}

constexpr float kLog2E = 1.44269504f;

template <typename T>
typename T::V silu(typename T::V x) {
    const auto e = exp2<T>(T::mul(x, T::set(-kLog2E)));
    return T::div(x, T::add(T::set(1.0f), e));
}

/// x (1 + erf(x / sqrt 2)) / 2; erf by Abramowitz and Stegun 7.1.26, to 1.5e-7.
template <typename T>
typename T::V gelu(typename T::V x) {
    const auto a = T::mul(T::abs(x), T::set(0.70710678f));
    const auto t = T::div(T::set(1.0f), T::fma(a, T::set(0.3275911f), T::set(1.0f)));
    auto sum = T::set(1.061405429f);
    sum = T::fma(sum, t, T::set(-1.453152027f));
    sum = T::fma(sum, t, T::set(1.421413741f));
    sum = T::fma(sum, t, T::set(-0.284496736f));
    sum = T::fma(sum, t, T::set(0.254829592f));
    sum = T::mul(sum, t);
    const auto e = exp2<T>(T::mul(T::mul(a, a), T::set(-kLog2E)));
    const auto erf = T::withSign(T::sub(T::set(1.0f), T::mul(sum, e)), x);
    return T::mul(T::mul(x, T::set(0.5f)), T::add(T::set(1.0f), erf));
}

// ---------------------------------------------------------------------------------------------
// The tile: a few rows times a panel

template <typename S>
constexpr int panelWidth = 2 * S::lanes;

/// sums[R, columns] (+)= rows[R, length] * panel[length, columns], for `segments` of rows and panel
/// one after the other; columns are `N` vectors. `rows` has `S::rows` pointers a segment, and
/// `panel` has room for `panelLength` of them.
template <typename S, int R, int N>
void tile(const typename S::Operand *const *rows, int segments, int length,
          const typename S::Operand *panel, int panelLength, float *sums, int sumsStride,
          bool add) {
    using V = typename S::V;
    V sum[R][N];
    for (int r = 0; r < R; r++) {
        for (int n = 0; n < N; n++) {
            sum[r][n] = add ? S::load(sums + r * sumsStride + n * S::lanes) : S::zero();
        }
    }
    for (int segment = 0; segment < segments; segment++) {
        const typename S::Operand *row[R];
        for (int r = 0; r < R; r++) row[r] = rows[segment * S::rows + r];
        for (int k = 0; k < length; k += S::depth) {
            typename S::Right right[N];
            for (int n = 0; n < N; n++) right[n] = S::loadRight(panel + n * S::lanes * S::depth);
            for (int r = 0; r < R; r++) {
                const typename S::Left left = S::broadcast(row[r] + k);
                for (int n = 0; n < N; n++) sum[r][n] = S::multiply(left, right[n], sum[r][n]);
            }
            panel += N * S::lanes * S::depth;
        }
        panel += (panelLength - roundUp(length, S::depth)) * N * S::lanes;
    }
    for (int r = 0; r < R; r++) {
        for (int n = 0; n < N; n++) S::store(sums + r * sumsStride + n * S::lanes, sum[r][n]);
    }
}

/// `tile` for a number of rows that is known only now.
template <typename S, int N, int R = S::rows>
void tileOf(int rowCount, const typename S::Operand *const *rows, int segments, int length,
            const typename S::Operand *panel, int panelLength, float *sums, int sumsStride,
            bool add) {
    if constexpr (R == 1) {
        tile<S, 1, N>(rows, segments, length, panel, panelLength, sums, sumsStride, add);
    } else if (rowCount == R) {
        tile<S, R, N>(rows, segments, length, panel, panelLength, sums, sumsStride, add);
    } else {
        tileOf<S, N, R - 1>(rowCount, rows, segments, length, panel, panelLength, sums, sumsStride,
                            add);
    }
}

// ---------------------------------------------------------------------------------------------
// Products and convolutions

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
    return roundUp(paddedInputs(shape), S::depth);
}

template <typename S>
int tapsAtOnce(const WeightShape &shape) {
    const int bytes =
        inStride<S>(shape) * panelWidth<S> * static_cast<int>(sizeof(typename S::Operand));
    return least(most(kPanelBytes / bytes, 1), shape.taps);
}

template <typename S>
struct ProductMemory {
    float *sums;                      ///< [blockRows, panelWidth]
    const typename S::Operand **rows; ///< [taps, S::rows]
    typename S::Operand *zeros;       ///< [in]: a pixel beyond the border
    typename S::Operand *unpacked;    ///< weights of some taps, as operands
    const void *unpackedFrom = nullptr;

    ProductMemory(Arena &arena, const WeightShape &shape)
        : sums(arena.take<float>(blockRows<S> * panelWidth<S>)),
          rows(arena.take<const typename S::Operand *>(shape.taps * S::rows)),
          zeros(arena.take<typename S::Operand>(inStride<S>(shape))),
          unpacked(shape.storage == operandStorage<S>()
                       ? nullptr
                       : arena.take<typename S::Operand>(std::int64_t{tapsAtOnce<S>(shape)} *
                                                         inStride<S>(shape) * panelWidth<S>)) {}
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

/// Packed weights of some taps as operands: where they lie if they are, else unpacked.
template <typename S>
const typename S::Operand *operandPanel(const void *packed, std::int64_t count, Storage storage,
                                        ProductMemory<S> &memory) {
    if (storage == operandStorage<S>()) return static_cast<const typename S::Operand *>(packed);
    if (memory.unpackedFrom == packed) return memory.unpacked;
    memory.unpackedFrom = packed;
    if (storage == Storage::Q8) {
        unpackQ8<S>(static_cast<const std::byte *>(packed), count, memory.unpacked);
    } else if constexpr (S::depth == 1) {
        unpackHalves<S>(static_cast<const std::uint16_t *>(packed), count, storage,
                        memory.unpacked);
    }
    return memory.unpacked;
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
                const int y = outY * p.stride + ky - p.padding;
                const int xx = outX * p.stride + kx - p.padding;
                const bool inside = y >= 0 && xx >= 0 && y < p.height * p.magnify &&
                                    xx < p.width * p.magnify &&
                                    (p.magnify == 1 || (y < p.outHeight && xx < p.outWidth));
                *row = inside
                           ? x + ((image * p.height + y / p.magnify) * p.width + xx / p.magnify) *
                                     stride
                           : memory.zeros;
            }
        }
    }
}

/// What is added to the sums on their way into the result.
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
        return;
    }
    using Operand = typename S::Operand;
    const int first = panel * panelWidth<S>, operandStep = operandRow<S>(shape.out);
    across<S>(least(panelWidth<S>, shape.out - first), [&](auto vectors, int i) {
        using T = decltype(vectors);
        const int c = first + i;
        const std::int64_t plain = row * shape.out + c, operand = row * operandStep + c;
        auto value = T::load(sums + i);
        if (p.bias) value = T::add(value, T::load(p.bias + c));
        if (p.more) value = T::add(value, T::load(p.more + c));
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
}

template <typename S>
void productBlock(const Product &p, int panel, std::int64_t first, int rowCount,
                  ProductMemory<S> &memory) {
    const int taps = p.shape.taps, stride = inStride<S>(p.shape), atOnce = tapsAtOnce<S>(p.shape);
    const std::int64_t tapCount = std::int64_t{stride} * panelWidth<S>;
    const auto *packed = static_cast<const std::byte *>(p.weights) +
                         panel * packedBytes(p.shape.storage, taps * tapCount);
    for (int tap = 0; tap < taps; tap += atOnce) {
        const int some = least(atOnce, taps - tap);
        const typename S::Operand *weights =
            operandPanel<S>(packed + packedBytes(p.shape.storage, tap * tapCount), some * tapCount,
                            p.shape.storage, memory);
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

    const int width = p.shape.gated ? S::lanes : panelWidth<S>;
    const int panels = ((p.shape.gated ? p.shape.out / 2 : p.shape.out) + width - 1) / width;
    const std::int64_t rows = std::int64_t{p.images} * p.outHeight * p.outWidth;
    const std::int64_t blocks = (rows + blockRows<S> - 1) / blockRows<S>;
    const Share share(panels * blocks, part, parts);
    for (std::int64_t task = share.begin; task < share.end; task++) {
        const std::int64_t first = task % blocks * blockRows<S>;
        const int count = static_cast<int>(least(std::int64_t{blockRows<S>}, rows - first));
        productBlock<S>(p, static_cast<int>(task / blocks), first, count, memory);
    }
}

// ---------------------------------------------------------------------------------------------
// Attention

// A block of queries meets one block of keys after the other. Of every row only the largest logit,
// the sum of the exponentials and the sum of the values so far are kept, and rescaled when a larger
// logit comes (Milakov and Gimelshein 2018; Dao et al. 2022): no map of all pairs is ever made.

constexpr int kKeysAtOnce = 256;

/// Values of one head's packed values: panels of the head's width; the last can be half as wide.
template <typename S>
int valueColumns(int width) {
    return roundUp(width, S::lanes);
}
template <typename S>
int paddedKeys(int keyCount) {
    return roundUp(keyCount, panelWidth<S>);
}
template <typename S>
int paddedWidth(int width) {
    return roundUp(width, S::depth);
}

template <typename S>
struct AttentionMemory {
    const typename S::Operand **rows;
    typename S::Operand *queries; ///< [S::rows, width]
    float *logits;                ///< [S::rows, kKeysAtOnce]
    typename S::Operand *shares;  ///< the same, after the softmax
    float *sums;                  ///< [S::rows, valueColumns]

    AttentionMemory(Arena &arena, const Attention &a)
        : rows(arena.take<const typename S::Operand *>(S::rows)),
          queries(arena.take<typename S::Operand>(S::rows * operandRow<S>(a.width))),
          logits(arena.take<float>(S::rows * kKeysAtOnce)),
          shares(arena.take<typename S::Operand>(S::rows * kKeysAtOnce)),
          sums(arena.take<float>(S::rows * valueColumns<S>(a.width))) {}
};

template <typename S>
std::size_t attentionScratch(const Attention &attention) {
    Arena arena(nullptr);
    AttentionMemory<S> memory(arena, attention);
    return arena.used();
}

/// Logits to their shares of the softmax so far. Returns by what earlier shares shrink.
template <typename S>
float softmaxRow(const float *logits, int count, int padded, typename S::Operand *shares,
                 float &largest, float &total) {
    float newLargest = largest;
    across<S>(count, [&](auto vectors, int i) {
        using T = decltype(vectors);
        newLargest = most(newLargest, T::maxOf(T::load(logits + i)));
    });
    const float shrink = Scalar::maxOf(exp2<Scalar>(largest - newLargest));
    float sum = 0;
    auto sums = S::zero();
    across<S>(count, [&](auto vectors, int i) {
        using T = decltype(vectors);
        const auto share = exp2<T>(T::sub(T::load(logits + i), T::set(newLargest)));
        storeTo<T>(shares + i, share);
        if constexpr (T::lanes == S::lanes) {
            sums = S::add(sums, share);
        } else {
            sum += share;
        }
    });
    for (int i = count; i < padded; i++) shares[i] = 0;
    largest = newLargest;
    total = total * shrink + S::sumOf(sums) + sum;
    return shrink;
}

template <typename S>
void attendBlock(const Attention &a, std::int64_t head, int first, int rowCount,
                 AttentionMemory<S> &memory) {
    using Operand = typename S::Operand;
    const int width = operandRow<S>(a.width), columns = valueColumns<S>(a.width);
    const int allKeys = paddedKeys<S>(a.keyCount), channels = a.heads * a.width;
    const std::int64_t image = head / a.heads;
    const auto firstRow = image * a.queryCount + first;
    const int offset = static_cast<int>(head % a.heads) * a.width;
    const Operand *keys = static_cast<const Operand *>(a.keys) + head * allKeys * width;
    const Operand *values = static_cast<const Operand *>(a.values) + head * allKeys * columns;

    // The logits come out in units of log 2, for exp2.
    const auto scale = static_cast<float>(kLog2E / std::sqrt(static_cast<double>(a.width)));
    float largest[S::rows], total[S::rows];
    for (int r = 0; r < rowCount; r++) {
        const float *query = a.queries + (firstRow + r) * channels + offset;
        Operand *row = memory.queries + r * width;
        across<S>(a.width, [&](auto vectors, int i) {
            using T = decltype(vectors);
            storeTo<T>(row + i, T::mul(T::load(query + i), T::set(scale)));
        });
        for (int i = a.width; i < width; i++) row[i] = 0;
        largest[r] = -3e38f;
        total[r] = 0;
    }

    const int seen = a.causal ? least(a.keyCount, first + rowCount) : a.keyCount;
    for (int begin = 0; begin < seen; begin += kKeysAtOnce) {
        const int padded = least(kKeysAtOnce, allKeys - begin);
        for (int r = 0; r < rowCount; r++) memory.rows[r] = memory.queries + r * width;
        for (int k = 0; k < padded; k += panelWidth<S>) {
            tileOf<S, 2>(rowCount, memory.rows, 1, width,
                         keys + static_cast<std::int64_t>(begin + k) * width, width,
                         memory.logits + k, kKeysAtOnce, false);
        }
        for (int r = 0; r < rowCount; r++) {
            const int end = a.causal ? least(seen, first + r + 1) : seen;
            Operand *shares = memory.shares + r * kKeysAtOnce;
            memory.rows[r] = shares;
            const float shrink =
                softmaxRow<S>(memory.logits + r * kKeysAtOnce, most(0, least(padded, end - begin)),
                              padded, shares, largest[r], total[r]);
            if (begin == 0 || shrink == 1) continue;
            across<S>(columns, [&](auto vectors, int i) {
                using T = decltype(vectors);
                float *sum = memory.sums + r * columns + i;
                T::store(sum, T::mul(T::load(sum), T::set(shrink)));
            });
        }
        for (int c = 0; c < columns; c += panelWidth<S>) {
            const bool whole = columns - c >= panelWidth<S>;
            const Operand *panel = values + std::int64_t{allKeys} * c +
                                   std::int64_t{begin} * (whole ? panelWidth<S> : S::lanes);
            (whole ? tileOf<S, 2> : tileOf<S, 1>)(rowCount, memory.rows, 1, padded, panel, padded,
                                                  memory.sums + c, columns, begin > 0);
        }
    }

    const int stride = operandRow<S>(channels);
    for (int r = 0; r < rowCount; r++) {
        Operand *result = static_cast<Operand *>(a.result) + (firstRow + r) * stride + offset;
        across<S>(a.width, [&](auto vectors, int i) {
            using T = decltype(vectors);
            const auto sum = T::load(memory.sums + r * columns + i);
            storeTo<T>(result + i, T::div(sum, T::set(total[r])));
        });
    }
}

template <typename S>
void attention(const Attention &a, void *scratch, int part, int parts) {
    Arena arena(scratch);
    AttentionMemory<S> memory(arena, a);
    const int blocks = (a.queryCount + S::rows - 1) / S::rows;
    const Share share(std::int64_t{a.images} * a.heads * blocks, part, parts);
    for (std::int64_t task = share.begin; task < share.end; task++) {
        const int first = static_cast<int>(task % blocks) * S::rows;
        attendBlock<S>(a, task / blocks, first, least(S::rows, a.queryCount - first), memory);
    }
}

/// Calls `f(head, source)` for this part's share of the heads of all images, `source` being where
/// the head's values of the first token are.
template <typename F>
void everyHead(const Attention &a, const float *source, int part, int parts, F f) {
    const Share share(std::int64_t{a.images} * a.heads, part, parts);
    for (std::int64_t head = share.begin; head < share.end; head++) {
        const std::int64_t image = head / a.heads;
        f(head, source + (image * a.keyCount * a.heads + head % a.heads) * a.width);
    }
}

template <typename S>
void packKeys(const Attention &a, const float *keys, void *packed, int part, int parts) {
    constexpr int panel = panelWidth<S>;
    const int width = operandRow<S>(a.width), all = paddedKeys<S>(a.keyCount);
    everyHead(a, keys, part, parts, [&](std::int64_t head, const float *source) {
        auto *to = static_cast<typename S::Operand *>(packed) + head * all * width;
        for (int k = 0; k < all; k++) {
            auto *column = to + k / panel * panel * width + k % panel * S::depth;
            const float *key = source + std::int64_t{k} * a.heads * a.width;
            for (int i = 0; i < width; i++) {
                const float value = k < a.keyCount && i < a.width ? key[i] : 0;
                storeTo<Scalar>(column + i / S::depth * panel * S::depth + i % S::depth, value);
            }
        }
    });
}

template <typename S>
void packValues(const Attention &a, const float *values, void *packed, int part, int parts) {
    const int columns = valueColumns<S>(a.width), all = paddedKeys<S>(a.keyCount);
    everyHead(a, values, part, parts, [&](std::int64_t head, const float *source) {
        auto *to = static_cast<typename S::Operand *>(packed) + head * all * columns;
        for (int c = 0; c < columns; c += panelWidth<S>) {
            const int wide = least(panelWidth<S>, columns - c);
            auto *panel = to + std::int64_t{all} * c;
            for (int k = 0; k < all; k++) {
                auto *row = panel + (k / S::depth * wide * S::depth + k % S::depth);
                const float *value = source + std::int64_t{k} * a.heads * a.width + c;
                for (int i = 0; i < wide; i++) {
                    const bool there = k < a.keyCount && c + i < a.width;
                    storeTo<Scalar>(row + i * S::depth, there ? value[i] : 0);
                }
            }
        }
    });
}

// ---------------------------------------------------------------------------------------------
// Norms

constexpr int kPixelsAtOnce = 32;

/// Of the channels of some pixels: how many pixels, means, and sums of squared deviations.
struct Statistics {
    float *count, *mean, *squares;
    Statistics(const GroupNorm &norm, std::int64_t slice, int image) {
        count = norm.statistics + (slice * norm.images + image) * (1 + 2 * norm.channels);
        mean = count + 1;
        squares = mean + norm.channels;
    }
};

template <typename S, typename X>
void sliceStatistics(const GroupNorm &norm, int step, std::int64_t slice) {
    const Share share(norm.pixels, static_cast<int>(slice), kNormSlices);
    const int channels = norm.channels;
    for (int image = 0; image < norm.images; image++) {
        const X *x = static_cast<const X *>(norm.x) + std::int64_t{image} * norm.pixels * step;
        const Statistics all(norm, slice, image);
        for (int c = 0; c < 2 * channels; c++) all.mean[c] = 0;
        float before = 0;
        for (std::int64_t first = share.begin; first < share.end; first += kPixelsAtOnce) {
            const int count =
                static_cast<int>(least(std::int64_t{kPixelsAtOnce}, share.end - first));
            const float pixels = static_cast<float>(count), together = before + pixels;
            const float weight = pixels / together, both = before * weight;
            across<S>(channels, [&](auto vectors, int c) {
                using T = decltype(vectors);
                const X *at = x + first * step + c;
                auto sum = T::zero();
                for (int i = 0; i < count; i++) sum = T::add(sum, loadFrom<T>(at + i * step));
                const auto mean = T::mul(sum, T::set(1 / pixels));
                auto squares = T::load(all.squares + c);
                for (int i = 0; i < count; i++) {
                    const auto apart = T::sub(loadFrom<T>(at + i * step), mean);
                    squares = T::fma(apart, apart, squares);
                }
                // Means and squares of two sets together: Chan, Golub and LeVeque 1979.
                const auto way = T::sub(mean, T::load(all.mean + c));
                squares = T::fma(T::mul(way, way), T::set(both), squares);
                T::store(all.mean + c, T::fma(way, T::set(weight), T::load(all.mean + c)));
                T::store(all.squares + c, squares);
            });
            before = together;
        }
        *all.count = before;
    }
}

template <typename S>
void groupStatistics(const GroupNorm &norm, int part, int parts) {
    const Share slices(kNormSlices, part, parts);
    for (std::int64_t slice = slices.begin; slice < slices.end; slice++) {
        if (norm.operandX) {
            sliceStatistics<S, typename S::Operand>(norm, operandRow<S>(norm.channels), slice);
        } else {
            sliceStatistics<S, float>(norm, norm.channels, slice);
        }
    }
}

/// Factor and shift of every channel of an image, from the statistics of all slices.
inline void groupFactors(const GroupNorm &norm, int image, float *factors, float *shifts) {
    const int channels = norm.channels, size = channels / norm.groups;
    for (int first = 0; first < channels; first += size) {
        double count = 0, mean = 0, squares = 0;
        for (int slice = 0; slice < kNormSlices; slice++) {
            const Statistics some(norm, slice, image);
            if (*some.count == 0) continue;
            double someMean = 0, someSquares = 0;
            for (int c = first; c < first + size; c++) someMean += some.mean[c];
            someMean /= size;
            for (int c = first; c < first + size; c++) {
                const double apart = some.mean[c] - someMean;
                someSquares += some.squares[c] + apart * apart * *some.count;
            }
            const double someCount = double{*some.count} * size, together = count + someCount;
            const double way = someMean - mean;
            squares += someSquares + way * way * count * someCount / together;
            mean += way * someCount / together;
            count = together;
        }
        const double perDeviation = 1 / std::sqrt(squares / count + norm.epsilon);
        for (int c = first; c < first + size; c++) {
            factors[c] = static_cast<float>(perDeviation * norm.scale[c]);
            shifts[c] = static_cast<float>(norm.shift[c] - mean * perDeviation * norm.scale[c]);
        }
    }
}

template <typename S, typename X>
void groupNormaliseOf(const GroupNorm &norm, int step, void *scratch, int part, int parts) {
    const Share share(norm.pixels, part, parts);
    const int channels = norm.channels, stride = operandRow<S>(channels);
    Arena arena(scratch);
    float *factors = arena.take<float>(channels), *shifts = arena.take<float>(channels);
    for (int image = 0; image < norm.images; image++) {
        groupFactors(norm, image, factors, shifts);
        for (std::int64_t pixel = share.begin; pixel < share.end; pixel++) {
            const std::int64_t row = std::int64_t{image} * norm.pixels + pixel;
            const X *x = static_cast<const X *>(norm.x) + row * step;
            auto *result = static_cast<typename S::Operand *>(norm.result) + row * stride;
            across<S>(channels, [&](auto vectors, int c) {
                using T = decltype(vectors);
                const auto y =
                    T::fma(loadFrom<T>(x + c), T::load(factors + c), T::load(shifts + c));
                storeTo<T>(result + c, norm.silu ? silu<T>(y) : y);
            });
            for (int c = channels; c < stride; c++) result[c] = 0;
        }
    }
}

template <typename S>
void groupNormalise(const GroupNorm &norm, void *scratch, int part, int parts) {
    if (norm.operandX) {
        groupNormaliseOf<S, typename S::Operand>(norm, operandRow<S>(norm.channels), scratch, part,
                                                 parts);
    } else {
        groupNormaliseOf<S, float>(norm, norm.channels, scratch, part, parts);
    }
}

inline std::size_t normScratch(const GroupNorm &norm) {
    Arena arena(nullptr);
    arena.take<float>(norm.channels);
    arena.take<float>(norm.channels);
    return arena.used();
}

template <typename S>
void layerNorm(const LayerNorm &norm, int part, int parts) {
    const Share share(norm.rows, part, parts);
    const int channels = norm.channels, stride = operandRow<S>(channels);
    const float each = 1.0f / static_cast<float>(channels);
    for (std::int64_t row = share.begin; row < share.end; row++) {
        const float *x = norm.x + row * channels;
        const auto sumOf = [&](auto term) {
            auto sums = S::zero();
            float rest = 0;
            across<S>(channels, [&](auto vectors, int c) {
                using T = decltype(vectors);
                if constexpr (T::lanes == S::lanes) {
                    sums = S::add(sums, term(vectors, c));
                } else {
                    rest += term(vectors, c);
                }
            });
            return S::sumOf(sums) + rest;
        };
        const float mean = each * sumOf([&](auto vectors, int c) {
                               using T = decltype(vectors);
                               return T::load(x + c);
                           });
        const float variance = each * sumOf([&](auto vectors, int c) {
                                   using T = decltype(vectors);
                                   const auto apart = T::sub(T::load(x + c), T::set(mean));
                                   return T::mul(apart, apart);
                               });
        const float factor = 1 / std::sqrt(variance + norm.epsilon);
        auto *result = static_cast<typename S::Operand *>(norm.result) + row * stride;
        across<S>(channels, [&](auto vectors, int c) {
            using T = decltype(vectors);
            const auto y = T::mul(T::sub(T::load(x + c), T::set(mean)), T::set(factor));
            storeTo<T>(result + c, T::fma(y, T::load(norm.scale + c), T::load(norm.shift + c)));
        });
        for (int c = channels; c < stride; c++) result[c] = 0;
    }
}

template <typename S>
void toOperand(const float *x, std::int64_t rows, int channels, void *operand, int part,
               int parts) {
    const Share share(rows, part, parts);
    const int stride = operandRow<S>(channels);
    for (std::int64_t row = share.begin; row < share.end; row++) {
        auto *result = static_cast<typename S::Operand *>(operand) + row * stride;
        across<S>(channels, [&](auto vectors, int c) {
            using T = decltype(vectors);
            storeTo<T>(result + c, T::load(x + row * channels + c));
        });
        for (int c = channels; c < stride; c++) result[c] = 0;
    }
}

// ---------------------------------------------------------------------------------------------

template <typename S>
const Kernels &kernelsOf() {
    static constexpr Kernels kernels = {
        S::name,           S::depth == 2,       panelWidth<S>, S::lanes,
        productScratch<S>, attentionScratch<S>, normScratch,   product<S>,
        packKeys<S>,       packValues<S>,       attention<S>,  groupStatistics<S>,
        groupNormalise<S>, layerNorm<S>,        toOperand<S>,
    };
    return kernels;
}

} // namespace
} // namespace magicmix::kernels
