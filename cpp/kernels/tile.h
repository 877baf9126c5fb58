#pragma once

#include "kernels/common.h"

namespace magicmix::kernels {
namespace {

// The innermost loop of everything: a few rows times a panel.

template <typename S>
constexpr int panelWidth = 2 * S::lanes;

// The sums have to stay in registers. GCC keeps an array there only if it unrolls every loop over
// it early; without this it writes all sums to memory after each step, which halves the speed.
#if defined(__GNUC__) && !defined(__clang__)
#define MAGICMIX_UNROLL _Pragma("GCC unroll 32")
#else
#define MAGICMIX_UNROLL
#endif

/// sums[R, columns] (+)= rows[R, length] * panel[length, columns], for `segments` of rows and panel
/// one after the other; columns are `N` vectors. `rows` has `S::rows` pointers a segment, and
/// `panel` has room for `panelLength` of them.
template <typename S, int R, int N>
void tile(const typename S::Operand *const *rows, int segments, int length,
          const typename S::Operand *panel, int panelLength, float *sums, int sumsStride,
          bool add) {
    using V = typename S::V;
    V sum[R][N];
    MAGICMIX_UNROLL
    for (int r = 0; r < R; r++) {
        MAGICMIX_UNROLL
        for (int n = 0; n < N; n++) {
            sum[r][n] = add ? S::load(sums + r * sumsStride + n * S::lanes) : S::zero();
        }
    }
    for (int segment = 0; segment < segments; segment++) {
        const typename S::Operand *row[R];
        MAGICMIX_UNROLL
        for (int r = 0; r < R; r++) row[r] = rows[segment * S::rows + r];
        for (int k = 0; k < length; k += S::depth) {
            typename S::Right right[N];
            MAGICMIX_UNROLL
            for (int n = 0; n < N; n++) right[n] = S::loadRight(panel + n * S::lanes * S::depth);
            MAGICMIX_UNROLL
            for (int r = 0; r < R; r++) {
                const typename S::Left left = S::broadcast(row[r] + k);
                MAGICMIX_UNROLL
                for (int n = 0; n < N; n++) sum[r][n] = S::multiply(left, right[n], sum[r][n]);
            }
            panel += N * S::lanes * S::depth;
        }
        panel += (panelLength - roundUp(length, S::depth)) * N * S::lanes;
    }
    MAGICMIX_UNROLL
    for (int r = 0; r < R; r++) {
        MAGICMIX_UNROLL
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

} // namespace
} // namespace magicmix::kernels
