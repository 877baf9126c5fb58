#pragma once

#include "kernels/common.h"

namespace magicmix::kernels {
namespace {

// Functions of numbers, for vectors and scalars `T`.

/// 2^x, to 2e-7 of its value; 0 below -126. The Taylor series of 2^r for |r| <= 1/2.
template <typename T>
typename T::V exp2(typename T::V x) {
    // In this order NaN stays NaN: min and max of x86 then give the second.
    x = T::min(T::set(127.0f), T::max(T::set(-126.0f), x));
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

/// 2^x of what will be rounded to an operand: for bf16 three digits are enough.
template <typename T>
typename T::V exp2Share(typename T::V x) {
    if constexpr (T::depth == 2) {
        return T::exp2Rough(x);
    } else {
        return exp2<T>(x);
    }
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

} // namespace
} // namespace magicmix::kernels
