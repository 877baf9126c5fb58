#include "model/pixels.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace magicmix {
namespace {

constexpr std::size_t kColours = 3;

} // namespace

std::vector<float> toPlanes(const std::vector<std::uint8_t> &rgb) {
    const std::size_t pixels = rgb.size() / kColours;
    std::vector<float> planes(rgb.size());
    for (std::size_t i = 0; i < pixels; i++) {
        for (std::size_t c = 0; c < kColours; c++) {
            planes[c * pixels + i] =
                static_cast<float>(rgb[i * kColours + c]) / 255.0f * 2.0f - 1.0f;
        }
    }
    return planes;
}

std::vector<std::uint8_t> toRgb(const std::vector<float> &planes) {
    const std::size_t pixels = planes.size() / kColours;
    std::vector<std::uint8_t> rgb(planes.size());
    for (std::size_t i = 0; i < pixels; i++) {
        for (std::size_t c = 0; c < kColours; c++) {
            const float value = std::clamp(planes[c * pixels + i] / 2.0f + 0.5f, 0.0f, 1.0f);
            rgb[i * kColours + c] = static_cast<std::uint8_t>(std::nearbyint(value * 255.0f));
        }
    }
    return rgb;
}

} // namespace magicmix
