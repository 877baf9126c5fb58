#pragma once

#include "diffusion/ddim.h"

namespace magicmix {

/// Red, green and blue (0..1), one after the other, as weights of the four channels of a latent and
/// a constant: 3 x 5 numbers, as commonly fitted to the autoencoder of Stable Diffusion 1.x
/// and 2.x.
extern const std::vector<double> kStableDiffusionLatentRgb;

/// A picture of one pixel a cell of a latent `[4, height, width]`: a linear map of its channels,
/// which costs nothing beside a decoder and shows shapes and rough colours.
Picture previewOf(const Latent &latent, int width, int height,
                  const std::vector<double> &latentRgb);

} // namespace magicmix
