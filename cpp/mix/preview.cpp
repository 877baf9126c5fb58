#include "mix/preview.h"

#include <algorithm>
#include <cmath>

namespace magicmix {
const std::vector<double> kStableDiffusionLatentRgb = {
    0.1490, 0.0935, -0.0790, -0.0920, 0.5, //
    0.1035, 0.1430, 0.0945,  -0.1355, 0.5, //
    0.1040, 0.0865, 0.1320,  -0.2365, 0.5,
};

Picture previewOf(const Latent &latent, int width, int height,
                  const std::vector<double> &latentRgb) {
    const auto cells = static_cast<std::size_t>(width) * static_cast<std::size_t>(height);
    Picture picture{width, height, std::vector<std::uint8_t>(cells * 3)};
    for (std::size_t cell = 0; cell < cells; cell++) {
        for (std::size_t colour = 0; colour < 3; colour++) {
            const double *weights = &latentRgb[colour * (kLatentChannels + 1)];
            double value = weights[kLatentChannels];
            for (std::size_t c = 0; c < kLatentChannels; c++) {
                value += weights[c] * static_cast<double>(latent[c * cells + cell]);
            }
            const double level = std::clamp(value, 0.0, 1.0) * 255;
            picture.rgb[cell * 3 + colour] = static_cast<std::uint8_t>(std::lround(level));
        }
    }
    return picture;
}

} // namespace magicmix
