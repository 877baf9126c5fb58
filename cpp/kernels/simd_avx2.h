#pragma once

#include <immintrin.h>

#include <cstdint>

namespace magicmix::kernels {
namespace {

/// AVX2 with FMA and F16C.
struct Avx2 {
    using V = __m256;
    using Operand = float;
    static constexpr const char *name = "avx2";
    static constexpr int lanes = 8;
    static constexpr int rows = 6; ///< 6 x 2 sums, 2 vectors of weights, 1 of the left factor

    static V zero() { return _mm256_setzero_ps(); }
    static V set(float x) { return _mm256_set1_ps(x); }
    static V load(const float *p) { return _mm256_loadu_ps(p); }
    static void store(float *p, V x) { _mm256_storeu_ps(p, x); }
    static V add(V a, V b) { return _mm256_add_ps(a, b); }
    static V sub(V a, V b) { return _mm256_sub_ps(a, b); }
    static V mul(V a, V b) { return _mm256_mul_ps(a, b); }
    static V div(V a, V b) { return _mm256_div_ps(a, b); }
    static V max(V a, V b) { return _mm256_max_ps(a, b); }
    static V min(V a, V b) { return _mm256_min_ps(a, b); }
    static V fma(V a, V b, V c) { return _mm256_fmadd_ps(a, b, c); }
    static V abs(V x) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x); }
    static V withSign(V x, V sign) {
        return _mm256_or_ps(abs(x), _mm256_and_ps(_mm256_set1_ps(-0.0f), sign));
    }
    static V round(V x) {
        return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    }
    static V pow2(V n) {
        const __m256i biased = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
        return _mm256_castsi256_ps(_mm256_slli_epi32(biased, 23));
    }
    static float sumOf(V x) {
        __m128 half = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
        half = _mm_add_ps(half, _mm_movehl_ps(half, half));
        return _mm_cvtss_f32(_mm_add_ss(half, _mm_movehdup_ps(half)));
    }
    static float maxOf(V x) {
        __m128 half = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
        half = _mm_max_ps(half, _mm_movehl_ps(half, half));
        return _mm_cvtss_f32(_mm_max_ss(half, _mm_movehdup_ps(half)));
    }

    static V loadBf16(const std::uint16_t *p) {
        const __m128i half = _mm_loadu_si128(reinterpret_cast<const __m128i *>(p));
        return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
    }
    static V loadF16(const std::uint16_t *p) {
        return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i *>(p)));
    }
    static V loadBytes(const std::int8_t *p) {
        const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i *>(p));
        return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes));
    }
    static V firstOfPairs(const std::uint16_t *p) {
        const __m256i pairs = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(p));
        return _mm256_castsi256_ps(_mm256_slli_epi32(pairs, 16));
    }
    static V secondOfPairs(const std::uint16_t *p) {
        const __m256i pairs = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(p));
        return _mm256_castsi256_ps(_mm256_and_si256(pairs, _mm256_set1_epi32(-0x10000)));
    }

    struct Session {}; ///< what has to be there while products are made
    static constexpr int depth = 1;
    static constexpr int padding = 1; ///< rows of operands are multiples of that
    using Left = __m256;
    using Right = __m256;
    static Left broadcast(const float *p) { return _mm256_broadcast_ss(p); }
    static Right loadRight(const float *p) { return _mm256_loadu_ps(p); }
    static V multiply(Left left, Right right, V sums) { return _mm256_fmadd_ps(left, right, sums); }
};

} // namespace
} // namespace magicmix::kernels
