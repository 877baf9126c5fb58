#pragma once

#include "base/latent.h"

namespace magicmix {

/// A picture of one pixel per cell of a latent: a linear map of its channels,
/// which costs nothing beside a decoder and shows shapes and rough colours.
Picture previewOf(const Latent &latent, CellSize size, const std::vector<double> &latentRgb);

} // namespace magicmix
