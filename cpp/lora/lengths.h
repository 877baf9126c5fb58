#pragma once

#include "lora/factors.h"

namespace magicmix {

// DoRA (Liu et al. 2024): a change sets the direction of the rows or columns of a weight by its
// matrices, and their lengths by numbers of its own.

bool lengthsFit(const LoraChange &change, const KernelShape &shape);

/// weights *= lengths / |weights|
void bringToLengths(const LoraChange &change, const KernelShape &shape,
                    std::vector<float> &weights);

} // namespace magicmix
