#pragma once

#include <cstdint>
#include <vector>

namespace magicmix {

/// RGB `[height, width, 3]` of 0..255 to planes `[3, height, width]` of -1..1.
std::vector<float> toPlanes(const std::vector<std::uint8_t> &rgb);
/// The way back: clamped, rounded half to even as PyTorch rounds.
std::vector<std::uint8_t> toRgb(const std::vector<float> &planes);

} // namespace magicmix
