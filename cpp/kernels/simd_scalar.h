#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

namespace magicmix::kernels {
namespace {

/// One number at a time: for the remainders where the vectors of an instruction set do not fit.
/// The other `simd_*.h` have the same functions. They are in a namespace without a name because
/// every file that includes them is compiled for another machine.
struct Scalar {
    using V = float;
    static constexpr int lanes = 1;

    static V zero() { return 0; }
    static V set(float x) { return x; }
    static V load(const float *p) { return *p; }
    static void store(float *p, V x) { *p = x; }
    static V add(V a, V b) { return a + b; }
    static V sub(V a, V b) { return a - b; }
    static V mul(V a, V b) { return a * b; }
    static V div(V a, V b) { return a / b; }
    static V max(V a, V b) { return a > b ? a : b; }
    static V min(V a, V b) { return a < b ? a : b; }
    /// a b + c
    static V fma(V a, V b, V c) { return a * b + c; }
    static V abs(V x) { return std::fabs(x); }
    /// `x`, negative where `sign` is
    static V withSign(V x, V sign) { return std::copysign(x, sign); }
    static V round(V x) { return std::nearbyint(x); }
    /// 2^n for whole n in -126..127; any number for NaN
    static V pow2(V n) {
        const auto whole = static_cast<std::int32_t>(n >= -126 ? n : -126);
        const std::uint32_t bits = static_cast<std::uint32_t>(whole + 127) << 23;
        float x;
        std::memcpy(&x, &bits, sizeof x);
        return x;
    }
    static float sumOf(V x) { return x; }
    static float maxOf(V x) { return x; }

    static V loadBf16(const std::uint16_t *p) {
        const std::uint32_t bits = static_cast<std::uint32_t>(*p) << 16;
        float x;
        std::memcpy(&x, &bits, sizeof x);
        return x;
    }
    /// To the nearest bf16, ties to even.
    static void store(std::uint16_t *p, V x) {
        std::uint32_t bits;
        std::memcpy(&bits, &x, sizeof bits);
        const bool isNan = (bits & 0x7fffffff) > 0x7f800000;
        *p = static_cast<std::uint16_t>(isNan ? (bits >> 16) | 0x40
                                              : (bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
    }
    static V loadF16(const std::uint16_t *p) {
        const std::uint32_t sign = static_cast<std::uint32_t>(*p & 0x8000) << 16;
        const std::uint32_t rest = *p & 0x7fff;
        const float small = static_cast<float>(rest) * 0x1p-24f; // right where the exponent is 0
        std::uint32_t bits;
        std::memcpy(&bits, &small, sizeof bits);
        if (rest >= 0x7c00) {
            bits = (rest << 13) | 0x7f800000;
        } else if (rest >= 0x0400) {
            bits = (rest << 13) + (112u << 23);
        }
        bits |= sign;
        float x;
        std::memcpy(&x, &bits, sizeof x);
        return x;
    }
    /// To the nearest f16, ties to even; from 65520 on infinite.
    static void storeF16(std::uint16_t *p, V x) {
        std::uint32_t bits;
        std::memcpy(&bits, &x, sizeof bits);
        const std::uint32_t sign = (bits >> 16) & 0x8000;
        bits &= 0x7fffffff;
        std::uint32_t half;
        if (bits >= 0x477ff000) {
            half = bits > 0x7f800000 ? 0x7e00 : 0x7c00;
        } else if (bits < 0x38800000) { // below 2^-14 it is a multiple of 2^-24
            half = static_cast<std::uint32_t>(std::nearbyint(std::fabs(x) * 0x1p24f));
        } else {
            half = (bits - (112u << 23) + 0xfff + ((bits >> 13) & 1)) >> 13;
        }
        *p = static_cast<std::uint16_t>(sign | half);
    }
    static V loadBytes(const std::int8_t *p) { return *p; }
    static void storePairs(std::uint16_t *p, V first, V second) {
        store(p, first);
        store(p + 1, second);
    }
};

} // namespace
} // namespace magicmix::kernels
