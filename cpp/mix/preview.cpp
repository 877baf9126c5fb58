#include "mix/preview.h"

#include <algorithm>
#include <cmath>

namespace magicmix {
namespace {

// Red, green and blue (-1..1) of each latent channel, as commonly fitted to the autoencoder of
// Stable Diffusion 1.x.
constexpr float kRgb[kLatentChannels][3] = {
    {0.298f, 0.207f, 0.208f},
    {0.187f, 0.286f, 0.173f},
    {-0.158f, 0.189f, 0.264f},
    {-0.184f, -0.271f, -0.473f},
};

} // namespace

Picture previewOf(const Latent &latent, int width, int height) {
    const auto cells = static_cast<std::size_t>(width) * static_cast<std::size_t>(height);
    Picture picture{width, height, std::vector<std::uint8_t>(cells * 3)};
    for (std::size_t cell = 0; cell < cells; cell++) {
        for (std::size_t colour = 0; colour < 3; colour++) {
            float value = 0;
            for (std::size_t c = 0; c < kLatentChannels; c++) {
                value += kRgb[c][colour] * latent[c * cells + cell];
            }
            const float level = std::clamp(value / 2 + 0.5f, 0.0f, 1.0f) * 255;
            picture.rgb[cell * 3 + colour] = static_cast<std::uint8_t>(std::lround(level));
        }
    }
    return picture;
}

} // namespace magicmix
