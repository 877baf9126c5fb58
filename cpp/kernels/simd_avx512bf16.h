#pragma once

#include "kernels/simd_avx512.h"

#include <cstring>

namespace magicmix::kernels {
namespace {

/// AVX-512 with products of bf16 pairs.
struct Avx512Bf16 : Avx512 {
    using Operand = std::uint16_t;
    static constexpr const char *name = "avx512bf16";

    using Avx512::store;
    static void store(std::uint16_t *p, V x) {
        _mm256_storeu_si256(reinterpret_cast<__m256i *>(p),
                            reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(x)));
    }

    static void storeTwo(std::uint16_t *p, V a, V b) {
        _mm512_storeu_si512(p, reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(b, a)));
    }
    /// `lanes` pairs of bf16.
    static void storePairs(std::uint16_t *p, V first, V second) {
        const __m512i low =
            _mm512_cvtepu16_epi32(reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(first)));
        const __m512i high =
            _mm512_cvtepu16_epi32(reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(second)));
        _mm512_storeu_si512(p, _mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
    }

    /// 2^x to 1e-4 of its value, 0 far below. A cubic for the fraction, 1 at 0 and 2 at 1.
    static V exp2Rough(V x) {
        constexpr int down = _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC;
        const V r = _mm512_reduce_ps(x, down); // x less the whole number below
        V sum = set(0.07826814f);
        sum = fma(sum, r, set(0.22630745f));
        sum = fma(sum, r, set(0.69542441f));
        sum = fma(sum, r, set(1.0f));
        return _mm512_scalef_ps(sum, x);
    }

    static constexpr int depth = 2;
    static constexpr int padding = 2;
    struct Session {};
    using Left = __m512bh;
    using Right = __m512bh;
    static Left broadcast(const std::uint16_t *p) {
        std::int32_t pair;
        std::memcpy(&pair, p, sizeof pair);
        return reinterpret_cast<__m512bh>(_mm512_set1_epi32(pair));
    }
    static Right loadRight(const std::uint16_t *p) {
        return reinterpret_cast<__m512bh>(_mm512_loadu_si512(p));
    }
    static V multiply(Left left, Right right, V sums) {
        return _mm512_dpbf16_ps(sums, left, right);
    }
};

} // namespace
} // namespace magicmix::kernels
