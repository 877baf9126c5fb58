#pragma once

#include <arm_neon.h>

#include <cstdint>
#include <cstring>

namespace magicmix::kernels {
namespace {

/// The instructions of every 64-bit ARM.
struct Neon {
    using V = float32x4_t;
    using Operand = float;
    static constexpr const char *name = "neon";
    static constexpr int lanes = 4;
    static constexpr int rows = 12; ///< 12 x 2 sums of 32 registers

    static V zero() { return vdupq_n_f32(0); }
    static V set(float x) { return vdupq_n_f32(x); }
    static V load(const float *p) { return vld1q_f32(p); }
    static void store(float *p, V x) { vst1q_f32(p, x); }
    static V add(V a, V b) { return vaddq_f32(a, b); }
    static V sub(V a, V b) { return vsubq_f32(a, b); }
    static V mul(V a, V b) { return vmulq_f32(a, b); }
    static V div(V a, V b) { return vdivq_f32(a, b); }
    static V max(V a, V b) { return vmaxq_f32(a, b); }
    static V min(V a, V b) { return vminq_f32(a, b); }
    static V fma(V a, V b, V c) { return vfmaq_f32(c, a, b); }
    static V abs(V x) { return vabsq_f32(x); }
    static V withSign(V x, V sign) { return vbslq_f32(vdupq_n_u32(0x80000000u), sign, x); }
    static V round(V x) { return vrndnq_f32(x); }
    static V pow2(V n) {
        const int32x4_t biased = vaddq_s32(vcvtq_s32_f32(n), vdupq_n_s32(127));
        return vreinterpretq_f32_s32(vshlq_n_s32(biased, 23));
    }
    static float sumOf(V x) { return vaddvq_f32(x); }
    static float maxOf(V x) { return vmaxvq_f32(x); }

    static V loadBf16(const std::uint16_t *p) {
        return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p), 16));
    }
    static V loadF16(const std::uint16_t *p) {
        return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p)));
    }
    static V loadBytes(const std::int8_t *p) {
        std::int32_t four;
        std::memcpy(&four, p, sizeof four);
        const int8x8_t bytes = vreinterpret_s8_s32(vdup_n_s32(four));
        return vcvtq_f32_s32(vmovl_s16(vget_low_s16(vmovl_s8(bytes))));
    }
    static V firstOfPairs(const std::uint16_t *p) {
        return vreinterpretq_f32_u32(vshlq_n_u32(vreinterpretq_u32_u16(vld1q_u16(p)), 16));
    }
    static V secondOfPairs(const std::uint16_t *p) {
        const uint32x4_t pairs = vreinterpretq_u32_u16(vld1q_u16(p));
        return vreinterpretq_f32_u32(vandq_u32(pairs, vdupq_n_u32(0xffff0000u)));
    }

    struct Session {}; ///< what has to be there while products are made
    static constexpr int depth = 1;
    static constexpr int padding = 1; ///< rows of operands are multiples of that
    using Left = float;
    using Right = float32x4_t;
    static Left broadcast(const float *p) { return *p; }
    static Right loadRight(const float *p) { return vld1q_f32(p); }
    static V multiply(Left left, Right right, V sums) { return vfmaq_n_f32(sums, right, left); }
};

} // namespace
} // namespace magicmix::kernels
