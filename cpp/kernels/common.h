#pragma once

// Shared by all kernels. The kernels are written once in terms of the vectors `S` of an instruction
// set, and compiled once for each (avx2.cpp ...). Nothing here may be shared with code that is
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

/// Two vectors, one after the other.
template <typename S>
void storeTwo(float *p, typename S::V a, typename S::V b) {
    S::store(p, a);
    S::store(p + S::lanes, b);
}
template <typename S>
void storeTwo(std::uint16_t *p, typename S::V a, typename S::V b) {
    S::storeTwo(p, a, b);
}

/// The largest of each of `lanes` vectors.
template <typename S>
typename S::V maxima(const typename S::V *x) {
    if constexpr (S::lanes == 16) {
        return S::maxima(x);
    } else {
        float all[S::lanes];
        for (int i = 0; i < S::lanes; i++) all[i] = S::maxOf(x[i]);
        return S::load(all);
    }
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
    return roundUp(channels, S::padding);
}

/// Zeros behind the channels of a row of operands: products read them.
template <typename S>
void padRow(typename S::Operand *row, int channels) {
    for (int c = channels; c < operandRow<S>(channels); c++) row[c] = 0;
}

/// Memory that a thread brings, handed out in pieces that begin at cache lines. Without memory it
/// only counts: its pieces are null.
class Arena {
public:
    explicit Arena(void *memory) : memory_(static_cast<char *>(memory)) {}
    template <typename T>
    T *take(std::int64_t count) {
        char *piece = memory_ == nullptr ? nullptr : memory_ + used_;
        used_ += static_cast<std::size_t>(
            roundUp(count * static_cast<std::int64_t>(sizeof(T)), std::int64_t{64}));
        return reinterpret_cast<T *>(piece);
    }
    /// Bytes that were handed out.
    std::size_t used() const { return used_; }

private:
    char *memory_;
    std::size_t used_ = 0;
};

} // namespace
} // namespace magicmix::kernels
