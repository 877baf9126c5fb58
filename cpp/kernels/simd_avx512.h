#pragma once

#include <immintrin.h>

#include <cstdint>

namespace magicmix::kernels {
namespace {

struct Avx512 {
    using V = __m512;
    using Operand = float;
    static constexpr const char *name = "avx512";
    static constexpr int lanes = 16;
    static constexpr int rows = 14; ///< of a tile: 14 x 2 sums and 2 vectors of weights

    static V zero() { return _mm512_setzero_ps(); }
    static V set(float x) { return _mm512_set1_ps(x); }
    static V load(const float *p) { return _mm512_loadu_ps(p); }
    static void store(float *p, V x) { _mm512_storeu_ps(p, x); }
    static V add(V a, V b) { return _mm512_add_ps(a, b); }
    static V sub(V a, V b) { return _mm512_sub_ps(a, b); }
    static V mul(V a, V b) { return _mm512_mul_ps(a, b); }
    static V div(V a, V b) { return _mm512_div_ps(a, b); }
    static V max(V a, V b) { return _mm512_max_ps(a, b); }
    static V min(V a, V b) { return _mm512_min_ps(a, b); }
    static V fma(V a, V b, V c) { return _mm512_fmadd_ps(a, b, c); }
    static V abs(V x) { return _mm512_abs_ps(x); }
    static V withSign(V x, V sign) {
        const __m512i mask = _mm512_set1_epi32(INT32_MIN);
        return _mm512_castsi512_ps(_mm512_ternarylogic_epi32(mask, _mm512_castps_si512(sign),
                                                             _mm512_castps_si512(x),
                                                             0xca)); // bit by bit: mask ? sign : x
    }
    static V round(V x) { return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT); }
    static V pow2(V n) { return _mm512_scalef_ps(_mm512_set1_ps(1), n); }
    static float sumOf(V x) { return _mm512_reduce_add_ps(x); }
    static float maxOf(V x) { return _mm512_reduce_max_ps(x); }
    /// The largest of each of 16 vectors: halves of two together, four times.
    static V maxima(const V *x) {
        V pairs[8], fours[4], eights[2];
        for (int i = 0; i < 8; i++) {
            pairs[i] = max(_mm512_unpacklo_ps(x[2 * i], x[2 * i + 1]),
                           _mm512_unpackhi_ps(x[2 * i], x[2 * i + 1]));
        }
        for (int i = 0; i < 4; i++) {
            const __m512d a = _mm512_castps_pd(pairs[2 * i]),
                          b = _mm512_castps_pd(pairs[2 * i + 1]);
            fours[i] = max(_mm512_castpd_ps(_mm512_unpacklo_pd(a, b)),
                           _mm512_castpd_ps(_mm512_unpackhi_pd(a, b)));
        }
        for (int i = 0; i < 2; i++) eights[i] = evenAndOdd(fours[2 * i], fours[2 * i + 1]);
        return evenAndOdd(eights[0], eights[1]);
    }

    static V loadBf16(const std::uint16_t *p) {
        const __m256i half = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(p));
        return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
    }
    static V loadF16(const std::uint16_t *p) {
        return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i *>(p)));
    }
    static V loadBytes(const std::int8_t *p) {
        const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i *>(p));
        return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes));
    }
    /// The first and the second of `lanes` pairs of bf16.
    static V firstOfPairs(const std::uint16_t *p) {
        return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_loadu_si512(p), 16));
    }
    static V secondOfPairs(const std::uint16_t *p) {
        return _mm512_castsi512_ps(
            _mm512_and_si512(_mm512_loadu_si512(p), _mm512_set1_epi32(-0x10000)));
    }

    // The step of a product: sums += left * right, of `depth` values at once.
    struct Session {}; ///< what has to be there while products are made
    static constexpr int depth = 1;
    static constexpr int padding = 1; ///< rows of operands are multiples of that
    using Left = __m512;
    using Right = __m512;
    static Left broadcast(const float *p) { return _mm512_set1_ps(*p); }
    static Right loadRight(const float *p) { return _mm512_loadu_ps(p); }
    static V multiply(Left left, Right right, V sums) { return _mm512_fmadd_ps(left, right, sums); }

private:
    static V evenAndOdd(V a, V b) {
        return max(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xdd));
    }
};

} // namespace
} // namespace magicmix::kernels
