#pragma once

#include "kernels/numbers.h"
#include "kernels/tile.h"

#include <type_traits>

namespace magicmix::kernels {
namespace {

// A block of queries meets one block of keys after the other. Of every row only the largest logit,
// the sum of the exponentials and the sum of the values so far are kept, and rescaled when a larger
// logit comes (Milakov and Gimelshein 2018; Dao et al. 2022): no map of all pairs is ever made.

constexpr int kKeysAtOnce = 256;
/// A logit whose share is nothing.
constexpr float kNothing = -3e38f;

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

/// sums (+)= rows * panel, for rows `stride` values apart; `pointers` has room for them.
template <typename S, int N>
void evenTile(int rowCount, const typename S::Operand *rows, int stride,
              const typename S::Operand **pointers, int length, const typename S::Operand *panel,
              float *sums, int sumsStride, bool add) {
    constexpr bool inTiles = S::padding > S::depth;
    if constexpr (inTiles) {
        // All rows of a tile are there, and what is in those beyond `rowCount` does not matter.
        const auto bytes = static_cast<std::int64_t>(sizeof *rows) * stride;
        const typename S::TileRows tiles[] = {{rows, bytes, 64},
                                              {rows + S::tileRows * stride, bytes, 64}};
        const auto multiply = rowCount > S::tileRows ? S::template multiplyTiles<2, N>
                                                     : S::template multiplyTiles<1, N>;
        multiply(tiles, 0, 1, length / S::tileDepth, panel, sums, sumsStride, add);
    } else {
        for (int r = 0; r < rowCount; r++) pointers[r] = rows + r * stride;
        tileOf<S, N>(rowCount, pointers, 1, length, panel, length, sums, sumsStride, add);
    }
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

/// Of some queries, what their softmax has come to so far.
template <typename S>
struct Softmax {
    static constexpr int rows = roundUp(S::rows, S::lanes);
    float largest[rows];
    float total[rows * S::lanes]; ///< of every row a vector, still to be summed
    float shrink[rows];           ///< by what earlier shares shrink with the latest keys
    int seen[rows];               ///< of the latest keys
};

/// The largest logits of `R` rows, lane by lane.
template <typename S, int R>
void largestOf(const float *logits, int padded, typename S::V *top) {
    MAGICMIX_UNROLL
    for (int r = 0; r < R; r++) top[r] = S::set(kNothing);
    for (int i = 0; i < padded; i += S::lanes) {
        MAGICMIX_UNROLL
        for (int r = 0; r < R; r++) {
            top[r] = S::max(top[r], S::load(logits + r * kKeysAtOnce + i));
        }
    }
}

/// Logits of `R` rows to their shares.
template <typename S, int R>
void sharesOf(AttentionMemory<S> &memory, int first, int padded, Softmax<S> &softmax) {
    using V = typename S::V;
    V largest[R], sums[R];
    MAGICMIX_UNROLL
    for (int r = 0; r < R; r++) {
        largest[r] = S::set(softmax.largest[first + r]);
        sums[r] = S::mul(S::load(softmax.total + (first + r) * S::lanes),
                         S::set(softmax.shrink[first + r]));
    }
    const float *logits = memory.logits + first * kKeysAtOnce;
    auto *shares = memory.shares + first * kKeysAtOnce;
    for (int i = 0; i < padded; i += panelWidth<S>) {
        MAGICMIX_UNROLL
        for (int r = 0; r < R; r++) {
            const int at = r * kKeysAtOnce + i;
            const V left = exp2Share<S>(S::sub(S::load(logits + at), largest[r]));
            const V right = exp2Share<S>(S::sub(S::load(logits + at + S::lanes), largest[r]));
            storeTwo<S>(shares + at, left, right);
            sums[r] = S::add(sums[r], S::add(left, right));
        }
    }
    MAGICMIX_UNROLL
    for (int r = 0; r < R; r++) S::store(softmax.total + (first + r) * S::lanes, sums[r]);
}

/// Calls `f` for all of `count` rows, some at once: rows take turns, so that none waits for itself.
template <typename F>
void inTurns(int count, F f) {
    constexpr int some = 4;
    int row = 0;
    for (; row + some <= count; row += some) f(std::integral_constant<int, some>(), row);
    for (; row < count; row++) f(std::integral_constant<int, 1>(), row);
}

/// Logits of up to `S::lanes` rows from `first` on to their shares of the softmax so far.
template <typename S>
void softmaxRows(AttentionMemory<S> &memory, int first, int count, int padded,
                 Softmax<S> &softmax) {
    using V = typename S::V;
    float *logits = memory.logits + first * kKeysAtOnce;
    auto *shares = memory.shares + first * kKeysAtOnce;
    const int *seen = softmax.seen + first;
    V top[S::lanes];
    for (int r = 0; r < count; r++) {
        for (int i = seen[r]; i < padded; i++) logits[r * kKeysAtOnce + i] = kNothing;
    }
    for (int r = count; r < S::lanes; r++) top[r] = S::set(kNothing);
    inTurns(count, [&](auto rows, int r) {
        largestOf<S, decltype(rows)::value>(logits + r * kKeysAtOnce, padded, top + r);
    });
    const V before = S::load(softmax.largest + first), now = S::max(before, maxima<S>(top));
    S::store(softmax.largest + first, now);
    S::store(softmax.shrink + first, exp2<S>(S::sub(before, now)));
    inTurns(count, [&](auto rows, int r) {
        sharesOf<S, decltype(rows)::value>(memory, first + r, padded, softmax);
    });
    for (int r = 0; r < count; r++) {
        for (int i = seen[r]; i < padded; i++) shares[r * kKeysAtOnce + i] = 0;
    }
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
    Softmax<S> softmax;
    for (float &largest : softmax.largest) largest = kNothing;
    for (float &total : softmax.total) total = 0;
    for (int r = 0; r < rowCount; r++) {
        const float *query = a.queries + (firstRow + r) * channels + offset;
        Operand *row = memory.queries + r * width;
        across<S>(a.width, [&](auto vectors, int i) {
            using T = decltype(vectors);
            storeTo<T>(row + i, T::mul(T::load(query + i), T::set(scale)));
        });
        for (int i = a.width; i < width; i++) row[i] = 0;
    }

    const int seen = a.causal ? least(a.keyCount, first + rowCount) : a.keyCount;
    for (int begin = 0; begin < seen; begin += kKeysAtOnce) {
        const int padded = least(kKeysAtOnce, allKeys - begin);
        for (int k = 0; k < padded; k += panelWidth<S>) {
            evenTile<S, 2>(rowCount, memory.queries, width, memory.rows, width,
                           keys + static_cast<std::int64_t>(begin + k) * width, memory.logits + k,
                           kKeysAtOnce, false);
        }
        for (int r = 0; r < rowCount; r++) {
            const int end = a.causal ? least(seen, first + r + 1) : seen;
            softmax.seen[r] = most(0, least(padded, end - begin));
        }
        for (int r = 0; r < rowCount; r += S::lanes) {
            softmaxRows<S>(memory, r, least(S::lanes, rowCount - r), padded, softmax);
        }
        for (int r = 0; r < rowCount; r++) {
            if (begin == 0 || softmax.shrink[r] == 1) continue;
            float *sums = memory.sums + r * columns;
            const auto shrink = S::set(softmax.shrink[r]);
            for (int i = 0; i < columns; i += S::lanes) {
                S::store(sums + i, S::mul(S::load(sums + i), shrink));
            }
        }
        for (int c = 0; c < columns; c += panelWidth<S>) {
            const bool whole = columns - c >= panelWidth<S>;
            const Operand *panel = values + std::int64_t{allKeys} * c +
                                   std::int64_t{begin} * (whole ? panelWidth<S> : S::lanes);
            (whole ? evenTile<S, 2> : evenTile<S, 1>)(rowCount, memory.shares, kKeysAtOnce,
                                                      memory.rows, padded, panel, memory.sums + c,
                                                      columns, begin > 0);
        }
    }

    const int stride = operandRow<S>(channels);
    for (int r = 0; r < rowCount; r++) {
        Operand *result = static_cast<Operand *>(a.result) + (firstRow + r) * stride + offset;
        const float total = S::sumOf(S::load(softmax.total + r * S::lanes));
        across<S>(a.width, [&](auto vectors, int i) {
            using T = decltype(vectors);
            const auto sum = T::load(memory.sums + r * columns + i);
            storeTo<T>(result + i, T::div(sum, T::set(total)));
        });
        if (offset + a.width == channels) padRow<S>(result - offset, channels);
    }
}

template <typename S>
void attention(const Attention &a, void *scratch, int part, int parts) {
    [[maybe_unused]] const typename S::Session inUse;
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
    using Operand = typename S::Operand;
    constexpr int panel = panelWidth<S>;
    const int width = operandRow<S>(a.width), all = paddedKeys<S>(a.keyCount);
    everyHead(a, keys, part, parts, [&](std::int64_t head, const float *source) {
        auto *to = static_cast<Operand *>(packed) + head * all * width;
        for (int k = 0; k < all; k++) {
            auto *column = to + k / panel * panel * width + k % panel * S::depth;
            const float *key = source + std::int64_t{k} * a.heads * a.width;
            int i = 0;
            if constexpr (S::depth == 2) {
                // Pairs go where they belong as one number.
                for (; k < a.keyCount && i + S::lanes <= a.width; i += S::lanes) {
                    Operand pairs[S::lanes];
                    S::store(pairs, S::load(key + i));
                    for (int d = 0; d < S::lanes; d += 2, column += panel * 2) {
                        std::memcpy(column, pairs + d, 2 * sizeof(Operand));
                    }
                }
            }
            for (; i < width; i += S::depth, column += panel * S::depth) {
                for (int d = 0; d < S::depth; d++) {
                    const bool there = k < a.keyCount && i + d < a.width;
                    storeTo<Scalar>(column + d, there ? key[i + d] : 0);
                }
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
            const int there = most(0, least(wide, a.width - c));
            for (int k = 0; k < all; k += S::depth) {
                auto *row = panel + k * wide;
                const float *value = source + std::int64_t{k} * a.heads * a.width + c;
                int first = 0;
                if constexpr (S::depth == 2) {
                    const float *next = value + std::int64_t{a.heads} * a.width;
                    for (; k + 1 < a.keyCount && first + S::lanes <= there; first += S::lanes) {
                        S::storePairs(row + 2 * first, S::load(value + first),
                                      S::load(next + first));
                    }
                }
                for (int i = first; i < wide; i++) {
                    for (int d = 0; d < S::depth; d++) {
                        const bool isThere = k + d < a.keyCount && i < there;
                        const float *from = value + std::int64_t{d} * a.heads * a.width + i;
                        storeTo<Scalar>(row + i * S::depth + d, isThere ? *from : 0);
                    }
                }
            }
        }
    });
}

} // namespace
} // namespace magicmix::kernels
