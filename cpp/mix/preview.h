#pragma once

#include "base/latent.h"

namespace magicmix {

/// A picture of one pixel a cell of a latent `[4, height, width]`: a linear map of its channels,
/// which costs nothing beside a decoder and shows shapes and rough colours.
Picture previewOf(const Latent &latent, int width, int height,
                  const std::vector<double> &latentRgb);

} // namespace magicmix
