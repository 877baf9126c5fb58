#pragma once

#include "kernels/simd_avx512bf16.h"

namespace magicmix::kernels {
namespace {

/// All eight tiles are whole: 16 rows of 64 bytes.
struct TileSizes {
    std::uint8_t palette = 1, start = 0, reserved[14] = {};
    std::uint16_t rowBytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
// A constant, because compilers see only its first bytes being used.
alignas(64) constexpr TileSizes kTileSizes;

/// AVX-512 with products of bf16 in tiles (Intel's Advanced Matrix Extensions): 16 rows of 32
/// values times 32 rows of 16 columns are one instruction. A panel of weights in pairs is what it
/// takes.
struct Amx : Avx512Bf16 {
    static constexpr const char *name = "amx";
    static constexpr int tileRows = 16;
    static constexpr int tileDepth = 32; ///< values of a row that are multiplied at once
    static constexpr int rows = 2 * tileRows;
    static constexpr int padding = tileDepth;

    /// Sixteen rows of operands, `stride` bytes apart. The next 32 values of every row are `step`
    /// bytes further.
    struct TileRows {
        const std::uint16_t *at;
        std::int64_t stride, step;
    };

    /// Tiles have a size from here on, on this thread, and none afterwards: whoever leaves them
    /// with one makes every change of threads slower.
    class Session {
    public:
        Session() { _tile_loadconfig(&kTileSizes); }
        ~Session() { _tile_release(); }
        Session(const Session &) = delete;
        Session &operator=(const Session &) = delete;
    };

    /// sums[16 R, 16 N] (+)= rows * panel, for `segments` of rows and panel one after the other,
    /// each of `steps` times 32 values. The rows of a segment are `rowsStride` further.
    template <int R, int N>
    static void multiplyTiles(const TileRows *rows, int rowsStride, int segments, int steps,
                              const std::uint16_t *panel, float *sums, int sumsStride, bool add) {
        static_assert(R <= 2 && N <= 2, "there are eight tiles");
        // Compilers do not know that tiles are loaded from what was stored before.
        asm volatile("" ::: "memory");
        const auto stride = static_cast<std::int64_t>(sizeof(float)) * sumsStride;
        float *below = sums + tileRows * sumsStride;
        if (add) {
            _tile_loadd(0, sums, stride);
            if constexpr (N == 2) _tile_loadd(1, sums + lanes, stride);
            if constexpr (R == 2) _tile_loadd(2, below, stride);
            if constexpr (R == 2 && N == 2) _tile_loadd(3, below + lanes, stride);
        } else {
            _tile_zero(0);
            if constexpr (N == 2) _tile_zero(1);
            if constexpr (R == 2) _tile_zero(2);
            if constexpr (R == 2 && N == 2) _tile_zero(3);
        }
        constexpr int panelStride = N * 64;
        for (int segment = 0; segment < segments; segment++, rows += rowsStride) {
            const auto *upper = reinterpret_cast<const char *>(rows[0].at);
            const auto *lower = reinterpret_cast<const char *>(rows[R - 1].at);
            for (int step = 0; step < steps; step++) {
                _tile_loadd(4, upper, rows[0].stride);
                _tile_loadd(6, panel, panelStride);
                _tile_dpbf16ps(0, 4, 6);
                if constexpr (N == 2) {
                    _tile_loadd(7, panel + 2 * lanes, panelStride);
                    _tile_dpbf16ps(1, 4, 7);
                }
                if constexpr (R == 2) {
                    _tile_loadd(5, lower, rows[1].stride);
                    _tile_dpbf16ps(2, 5, 6);
                }
                if constexpr (R == 2 && N == 2) _tile_dpbf16ps(3, 5, 7);
                upper += rows[0].step;
                lower += rows[R - 1].step;
                panel += N * lanes * tileDepth;
            }
        }
        _tile_stored(0, sums, stride);
        if constexpr (N == 2) _tile_stored(1, sums + lanes, stride);
        if constexpr (R == 2) _tile_stored(2, below, stride);
        if constexpr (R == 2 && N == 2) _tile_stored(3, below + lanes, stride);
    }
};

} // namespace
} // namespace magicmix::kernels
