#include "convert/rounding.h"

#include "tensor/conversion.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace magicmix {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
// From here on f16 rounds to infinity; its largest number is 65504.
constexpr float kBeyondHalf = 65520.0f;
// A block of q8_0 has a factor in f16, which is its largest value over 127.
constexpr float kBeyondQ8 = 127 * kBeyondHalf;
// A block's largest value is lowered by a 1024th at a time, and at most to the half: of a type with
// two bits even that may be its rounding error.
constexpr int kSteps = 512;

/// Infinity if there is a value that is none.
float largestOf(const float *values, std::size_t count) {
    float largest = 0;
    for (std::size_t i = 0; i < count; i++) {
        const float size = std::fabs(values[i]);
        if (!(size < kInfinity)) return kInfinity;
        largest = std::max(largest, size);
    }
    return largest;
}

/// What has to stay below it after rounding, being `largest` before.
float limitOf(float largest) {
    return largest < kBeyondHalf ? kBeyondHalf : largest < kBeyondQ8 ? kBeyondQ8 : kInfinity;
}

float largestIn(ggml_type type, const std::byte *block, std::vector<float> &floats) {
    toFloats(type, block, 0, floats.size(), floats.data());
    return largestOf(floats.data(), floats.size());
}

/// Whether the type can hold the block, `floats` being memory for one.
bool roundBlock(ggml_type type, const float *values, std::byte *out, std::vector<float> &floats) {
    const float largest = largestOf(values, floats.size());
    const float limit = limitOf(largest);
    const float rounded = largestIn(type, out, floats);
    if (rounded < limit) return true;
    if (rounded == kInfinity) return false;
    std::vector<float> lowered(floats.size());
    for (int step = 1; step <= kSteps; step++) {
        const float most = largest * (1 - static_cast<float>(step) / (2 * kSteps));
        std::transform(values, values + lowered.size(), lowered.begin(),
                       [&](float value) { return std::clamp(value, -most, most); });
        fromFloats(lowered.data(), lowered.size(), type, out);
        if (largestIn(type, out, floats) < limit) return true;
    }
    return false;
}

} // namespace

std::optional<float> roundTo(ggml_type type, const float *values, std::size_t count,
                             std::byte *out) {
    const auto firstThat = [&](auto matches) -> std::optional<float> {
        const auto *found = std::find_if(values, values + count, matches);
        return found == values + count ? std::nullopt : std::optional(*found);
    };
    // ggml's quantisation is not made for larger ones, and could not hold them.
    const float beyond = isQuantised(type) ? kBeyondQ8 : kInfinity;
    const auto strange = firstThat([&](float value) { return !(std::fabs(value) < beyond); });
    if (strange) return strange;

    fromFloats(values, count, type, out);
    std::vector<float> floats(count);
    if (largestIn(type, out, floats) < kBeyondHalf) return std::nullopt;

    const BlockSize block = blockSize(type);
    const auto width = static_cast<std::size_t>(block.values);
    floats.resize(width);
    for (std::size_t first = 0; first < count; first += width, out += block.bytes) {
        if (roundBlock(type, values + first, out, floats)) continue;
        const auto *last = values + first + width;
        return *std::max_element(values + first, last,
                                 [](float a, float b) { return std::fabs(a) < std::fabs(b); });
    }
    return std::nullopt;
}

} // namespace magicmix
