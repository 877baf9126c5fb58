#pragma once

#include "kernels/simd_scalar.h"

namespace magicmix::kernels {
namespace {

/// Plain C++: runs where nothing else does; the others are compared with it.
struct Portable {
    static constexpr const char *name = "portable";
    static constexpr int lanes = 4;
    static constexpr int rows = 4;
    using Operand = float;
    struct V {
        float at[lanes];
    };

    static V zero() { return set(0); }
    static V set(float x) { return {{x, x, x, x}}; }
    static V load(const float *p) { return {{p[0], p[1], p[2], p[3]}}; }
    static void store(float *p, V x) { std::memcpy(p, x.at, sizeof x.at); }
    static V add(V a, V b) { return each(a, b, Scalar::add); }
    static V sub(V a, V b) { return each(a, b, Scalar::sub); }
    static V mul(V a, V b) { return each(a, b, Scalar::mul); }
    static V div(V a, V b) { return each(a, b, Scalar::div); }
    static V max(V a, V b) { return each(a, b, Scalar::max); }
    static V min(V a, V b) { return each(a, b, Scalar::min); }
    static V fma(V a, V b, V c) { return add(mul(a, b), c); }
    static V abs(V x) { return each(x, Scalar::abs); }
    static V withSign(V x, V sign) { return each(x, sign, Scalar::withSign); }
    static V round(V x) { return each(x, Scalar::round); }
    static V pow2(V n) { return each(n, Scalar::pow2); }
    static float sumOf(V x) { return (x.at[0] + x.at[1]) + (x.at[2] + x.at[3]); }
    static float maxOf(V x) {
        return Scalar::max(Scalar::max(x.at[0], x.at[1]), Scalar::max(x.at[2], x.at[3]));
    }

    static V loadBf16(const std::uint16_t *p) { return gather(p, 1, Scalar::loadBf16); }
    static V loadF16(const std::uint16_t *p) { return gather(p, 1, Scalar::loadF16); }
    static V loadBytes(const std::int8_t *p) {
        const auto at = [p](int i) { return static_cast<float>(p[i]); };
        return {{at(0), at(1), at(2), at(3)}};
    }
    static V firstOfPairs(const std::uint16_t *p) { return gather(p, 2, Scalar::loadBf16); }
    static V secondOfPairs(const std::uint16_t *p) { return gather(p + 1, 2, Scalar::loadBf16); }

    struct Session {}; ///< what has to be there while products are made
    static constexpr int depth = 1;
    static constexpr int padding = 1; ///< rows of operands are multiples of that
    using Left = float;
    using Right = V;
    static Left broadcast(const float *p) { return *p; }
    static Right loadRight(const float *p) { return load(p); }
    static V multiply(Left left, Right right, V sums) { return fma(set(left), right, sums); }

private:
    template <typename F>
    static V each(V a, F f) {
        return {{f(a.at[0]), f(a.at[1]), f(a.at[2]), f(a.at[3])}};
    }
    template <typename F>
    static V each(V a, V b, F f) {
        return {
            {f(a.at[0], b.at[0]), f(a.at[1], b.at[1]), f(a.at[2], b.at[2]), f(a.at[3], b.at[3])}};
    }
    template <typename F>
    static V gather(const std::uint16_t *p, int step, F f) {
        return {{f(p), f(p + step), f(p + 2 * step), f(p + 3 * step)}};
    }
};

} // namespace
} // namespace magicmix::kernels
