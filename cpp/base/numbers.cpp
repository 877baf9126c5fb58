#include "base/numbers.h"

#include <algorithm>
#include <cmath>

namespace magicmix {

bool allFinite(const std::vector<float> &values) {
    return std::all_of(values.begin(), values.end(), [](float v) { return std::isfinite(v); });
}

void multiply(std::vector<float> &values, double factor) {
    for (float &value : values) value = static_cast<float>(value * factor);
}

} // namespace magicmix
