#pragma once

#include <vector>

namespace magicmix {

// Red, green and blue (0..1), one after the other, as weights of the four channels of a scaled
// latent and a constant: 3 x 5 numbers, as commonly fitted to autoencoders.

/// To that of Stable Diffusion 1.x and 2.x.
inline const std::vector<double> kStableDiffusionLatentRgb = {
    0.1490, 0.0935, -0.0790, -0.0920, 0.5, //
    0.1035, 0.1430, 0.0945,  -0.1355, 0.5, //
    0.1040, 0.0865, 0.1320,  -0.2365, 0.5,
};

/// To that of Stable Diffusion XL.
inline const std::vector<double> kXlLatentRgb = {
    0.1826, -0.1267, 0.0538,  -0.1583, 0.5542, //
    0.2116, -0.0021, 0.0556,  -0.1246, 0.4913, //
    0.2171, 0.0534,  -0.0181, -0.1094, 0.4995,
};

} // namespace magicmix
