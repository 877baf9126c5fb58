#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace magicmix {

/// Channels of a latent of Stable Diffusion.
constexpr int kLatentChannels = 4;
/// Pixels along one side of a latent's cell.
constexpr int kPixelsPerCell = 8;
/// Pixels along one side of the largest picture.
constexpr int kMaxSide = 4096;

/// The values `[4, height, width]` of a latent, row by row.
using Latent = std::vector<float>;

/// The size of a latent, in cells.
struct CellSize {
    int width = 0, height = 0;

    std::size_t cells() const {
        return static_cast<std::size_t>(width) * static_cast<std::size_t>(height);
    }
    /// The number of values of a latent of this size.
    std::size_t values() const { return kLatentChannels * cells(); }
};

/// The size of a picture, in pixels.
struct PixelSize {
    int width = 0, height = 0;

    /// The size of its latent; both sides are multiples of 8.
    CellSize cells() const { return {width / kPixelsPerCell, height / kPixelsPerCell}; }
};

inline PixelSize pixelsOf(CellSize size) {
    return {size.width * kPixelsPerCell, size.height * kPixelsPerCell};
}

/// An RGB picture `[height, width, 3]`.
struct Picture {
    int width = 0, height = 0;
    std::vector<std::uint8_t> rgb;
};

} // namespace magicmix
