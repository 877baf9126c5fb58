#pragma once

#include <vector>

namespace magicmix {

/// What Stable Diffusion XL was told of the pictures of its training, in pixels (Podell et al.
/// 2023, arXiv 2307.01952, section 2.2): their size before they were scaled, the corner from which
/// they were cropped, and the size that was left.
struct PictureConditioning {
    int originalHeight = 0, originalWidth = 0;
    int cropTop = 0, cropLeft = 0;
    int targetHeight = 0, targetWidth = 0;
};

constexpr int kSizeFeatures = 256;               ///< numbers that one of the six becomes
constexpr int kAddedNumbers = 6 * kSizeFeatures; ///< of all of them

/// The vector that the UNet takes beside the timestep: the pooled text, then the sinusoids of the
/// six numbers, in the order in which they are declared.
std::vector<float> addedVector(const std::vector<float> &pooled,
                               const PictureConditioning &picture);

/// The features of a timestep, and of other numbers from 0 on: cosines of `value` / 10000^(k/half),
/// k = 0, 1, ..., then their sines. An odd one is zero, as in diffusers.
std::vector<float> sinusoids(double value, int features);

} // namespace magicmix
