#pragma once

// Products and convolutions in tiles. They are so fast that what matters is where the factors come
// from: a chunk of a panel stays in the first-level cache while the rows of a block pass by, and
// the rows of a chunk stay in the second while some panels pass by.

#include "kernels/product.h"
#include "kernels/simd_amx.h"

namespace magicmix::kernels {
namespace {

constexpr int kTilesInBlock = 16;
constexpr int kBlockRows = kTilesInBlock * Amx::tileRows;
constexpr int kPanelsAtOnce = 10;
/// Inputs whose products are summed before the sums go back to memory.
constexpr int kChunkLength = 1024;

/// The inputs of a convolution in chunks: some taps, or some channels of one.
struct Chunks {
    int taps, length; ///< of a chunk; the last ones can be shorter
    explicit Chunks(const WeightShape &shape) {
        const int in = inStride<Amx>(shape);
        const int pieces = (in + kChunkLength - 1) / kChunkLength;
        length = roundUp((in + pieces - 1) / pieces, Amx::tileDepth);
        taps = most(1, least(kChunkLength / in, shape.taps));
    }
};

struct TileMemory {
    using Operand = Amx::Operand;
    float *sums;         ///< [kPanelsAtOnce, kBlockRows, panelWidth]
    Amx::TileRows *rows; ///< [taps of a chunk, kTilesInBlock]
    Operand *gathered;   ///< [kTilesInBlock, taps of a chunk, length of a chunk / 32, 16, 32]
    Operand *zeros;      ///< [32]: of a pixel beyond the border
    Unpacked<Amx> unpacked;

    TileMemory(Arena &arena, const WeightShape &shape, const Chunks &chunks)
        : sums(arena.take<float>(kPanelsAtOnce * kBlockRows * panelWidth<Amx>)),
          rows(arena.take<Amx::TileRows>(std::int64_t{chunks.taps} * kTilesInBlock)),
          gathered(arena.take<Operand>(std::int64_t{kBlockRows} * chunks.taps * chunks.length)),
          zeros(arena.take<Operand>(Amx::tileDepth)), unpacked(arena, shape, shape.taps) {}
};

inline std::size_t tileProductScratch(const Product &product) {
    Arena arena(nullptr);
    TileMemory memory(arena, product.shape, Chunks(product.shape));
    return arena.used();
}

/// Sixteen patches of a convolution, as a tap sees them.
class Patches {
public:
    Patches(const Product &p, std::int64_t first, int count)
        : p_(p), count_(count), stride_(operandRow<Amx>(p.shape.in)) {
        const std::int64_t pixels = std::int64_t{p.outHeight} * p.outWidth;
        image_ = first / pixels;
        y_ = static_cast<int>(first % pixels / p.outWidth);
        x_ = static_cast<int>(first % p.outWidth);
        inLine_ = count == Amx::tileRows && x_ + Amx::tileRows <= p.outWidth && p.magnify == 1;
    }

    /// The rows of a tap from channel `from` on: where they lie if they do so evenly, else put
    /// together in `gathered`.
    Amx::TileRows at(int ky, int kx, int from, int steps, const Amx::Operand *zeros,
                     Amx::Operand *gathered) const {
        if (inLine_) {
            const int y = y_ * p_.stride + ky - p_.padding + p_.rowsAbove;
            const int x = x_ * p_.stride + kx - p_.padding;
            if (y < 0 || y >= p_.height) return {zeros, 0, 0};
            if (x >= 0 && x + (Amx::tileRows - 1) * p_.stride < p_.width) {
                return {pixel(image_, y, x) + from, std::int64_t{2} * stride_ * p_.stride, 64};
            }
        }
        for (int r = 0; r < Amx::tileRows; r++) {
            const Amx::Operand *row = r < count_ ? rowOf(r, ky, kx) : nullptr;
            for (int step = 0; step < steps; step++) {
                const __m512i values = row == nullptr
                                           ? _mm512_setzero_si512()
                                           : _mm512_loadu_si512(row + from + step * Amx::tileDepth);
                _mm512_storeu_si512(gathered + (step * Amx::tileRows + r) * Amx::tileDepth, values);
            }
        }
        return {gathered, 64, 1024};
    }

private:
    const Amx::Operand *pixel(std::int64_t image, int y, int x) const {
        return static_cast<const Amx::Operand *>(p_.x) +
               ((image * p_.height + y) * p_.width + x) * stride_;
    }

    /// Null beyond the border.
    const Amx::Operand *rowOf(int r, int ky, int kx) const {
        int outX = x_ + r, outY = y_;
        std::int64_t image = image_;
        while (outX >= p_.outWidth) {
            outX -= p_.outWidth;
            if (++outY == p_.outHeight) {
                outY = 0;
                image++;
            }
        }
        const int y = outY * p_.stride + ky - p_.padding + p_.rowsAbove;
        const int x = outX * p_.stride + kx - p_.padding;
        if (!isInside(p_, y, x)) return nullptr;
        return pixel(image, y / p_.magnify, x / p_.magnify);
    }

    const Product &p_;
    int count_;
    std::int64_t stride_, image_ = 0;
    int y_ = 0, x_ = 0;
    bool inLine_ = false;
};

/// Some rows times some panels.
inline void tileBlock(const Product &p, int firstPanel, int panels, std::int64_t first,
                      int rowCount, TileMemory &memory) {
    const Chunks chunks(p.shape);
    const int in = inStride<Amx>(p.shape), tiles = (rowCount + Amx::tileRows - 1) / Amx::tileRows;
    constexpr int width = panelWidth<Amx>;
    for (int tap = 0; tap < p.shape.taps; tap += chunks.taps) {
        const int taps = least(chunks.taps, p.shape.taps - tap);
        for (int from = 0; from < in; from += chunks.length) {
            const int length = least(chunks.length, in - from), steps = length / Amx::tileDepth;
            for (int tile = 0; tile < tiles; tile++) {
                const int done = tile * Amx::tileRows;
                const Patches patches(p, first + done, least(Amx::tileRows, rowCount - done));
                for (int t = 0; t < taps; t++) {
                    auto *gathered =
                        memory.gathered + std::int64_t{tile * taps + t} * Amx::tileRows * length;
                    memory.rows[t * kTilesInBlock + tile] =
                        patches.at((tap + t) / p.kernel, (tap + t) % p.kernel, from, steps,
                                   memory.zeros, gathered);
                }
            }
            for (int panel = 0; panel < panels; panel++) {
                const Amx::Operand *weights =
                    weightsOf<Amx>(p, firstPanel + panel, 0, p.shape.taps, memory.unpacked) +
                    (std::int64_t{tap} * in + from) * width;
                for (int tile = 0; tile < tiles; tile += 2) {
                    float *sums = memory.sums + (panel * kBlockRows + tile * Amx::tileRows) * width;
                    const bool add = tap > 0 || from > 0;
                    (tile + 1 < tiles ? Amx::multiplyTiles<2, 2>
                                      : Amx::multiplyTiles<1, 2>)(memory.rows + tile, kTilesInBlock,
                                                                  taps, steps, weights, sums, width,
                                                                  add);
                }
            }
        }
    }
    for (int r = 0; r < rowCount; r++) { // row by row, as the result lies
        for (int panel = 0; panel < panels; panel++) {
            finish<Amx>(p, first + r, firstPanel + panel,
                        memory.sums + (panel * kBlockRows + r) * width);
        }
    }
}

inline void tileProduct(const Product &p, void *scratch, int part, int parts) {
    const Amx::Session tilesInUse;
    Arena arena(scratch);
    TileMemory memory(arena, p.shape, Chunks(p.shape));
    for (int i = 0; i < Amx::tileDepth; i++) memory.zeros[i] = 0;

    const int panels = panelCount<Amx>(p.shape);
    const std::int64_t rows = std::int64_t{p.images} * p.outHeight * p.outWidth;
    const std::int64_t blocks = (rows + kBlockRows - 1) / kBlockRows;
    // Panels together, but at least as many tasks as there are parts.
    const std::int64_t enough = least(std::int64_t{parts}, panels * blocks);
    const int groups =
        static_cast<int>(most((std::int64_t{panels} + kPanelsAtOnce - 1) / kPanelsAtOnce,
                              (enough + blocks - 1) / blocks));
    const int atOnce = p.shape.storage == Storage::BF16 ? (panels + groups - 1) / groups : 1;
    const std::int64_t groupCount = (panels + atOnce - 1) / atOnce;
    const Share share(groupCount * blocks, part, parts);
    for (std::int64_t task = share.begin; task < share.end; task++) {
        const std::int64_t first = task % blocks * kBlockRows;
        const int panel = static_cast<int>(task / blocks) * atOnce;
        tileBlock(p, panel, least(atOnce, panels - panel), first,
                  static_cast<int>(least(std::int64_t{kBlockRows}, rows - first)), memory);
    }
}

} // namespace
} // namespace magicmix::kernels
