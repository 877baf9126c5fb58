#pragma once

#include <cstddef>
#include <vector>

namespace magicmix {

/// Whether there is neither NaN nor infinity among the values.
bool allFinite(const std::vector<float> &values);

/// Multiplies every value, in double.
void multiply(std::vector<float> &values, double factor);

/// (1 - weight) a + weight b, computed in the type of `weight`: float, or double for states.
template <typename Weight>
float interpolated(float a, float b, Weight weight) {
    return static_cast<float>((1 - weight) * a + weight * b);
}

/// The same of all values.
template <typename Weight>
std::vector<float> interpolate(const std::vector<float> &a, const std::vector<float> &b,
                               Weight weight) {
    std::vector<float> result(a.size());
    for (std::size_t k = 0; k < result.size(); k++) {
        result[k] = interpolated(a[k], b[k], weight);
    }
    return result;
}

} // namespace magicmix
