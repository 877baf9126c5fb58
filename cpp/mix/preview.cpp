#include "mix/preview.h"

#include <algorithm>
#include <cmath>

namespace magicmix {

Picture previewOf(const Latent &latent, CellSize size, const std::vector<double> &latentRgb) {
    const std::size_t cells = size.cells();
    Picture picture{size.width, size.height, std::vector<std::uint8_t>(cells * 3)};
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
