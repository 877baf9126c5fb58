#include "model/added_conditioning.h"

#include <cmath>
#include <cstddef>

namespace magicmix {

std::vector<float> addedVector(const std::vector<float> &pooled,
                               const PictureConditioning &picture) {
    std::vector<float> vector = pooled;
    for (const int number : {picture.originalHeight, picture.originalWidth, picture.cropTop,
                             picture.cropLeft, picture.targetHeight, picture.targetWidth}) {
        const std::vector<float> features = sinusoids(number, kSizeFeatures);
        vector.insert(vector.end(), features.begin(), features.end());
    }
    return vector;
}

std::vector<float> sinusoids(double value, int features) {
    // The products are rounded to float32 as PyTorch does: at t = 981 that is visible in the sines.
    const int half = features / 2;
    std::vector<float> all(static_cast<std::size_t>(features));
    for (int k = 0; k < half; k++) {
        const float exponent = static_cast<float>(-std::log(10000.0)) * static_cast<float>(k) /
                               static_cast<float>(half);
        const float angle = static_cast<float>(value) * std::exp(exponent);
        all[static_cast<std::size_t>(k)] = std::cos(angle);
        all[static_cast<std::size_t>(half + k)] = std::sin(angle);
    }
    return all;
}

} // namespace magicmix
