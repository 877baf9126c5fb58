#pragma once

// All kernels for the vectors of one instruction set.

#include "kernels/attention.h"
#include "kernels/norms.h"
#include "kernels/product.h"

namespace magicmix::kernels {
namespace {

template <typename S>
const Kernels &kernelsOf() {
    static constexpr Kernels kernels = {
        S::name,           S::depth == 2,       panelWidth<S>, S::lanes,
        productScratch<S>, attentionScratch<S>, normScratch,   product<S>,
        packKeys<S>,       packValues<S>,       attention<S>,  groupStatistics<S>,
        groupNormalise<S>, layerNorm<S>,        toOperand<S>,
    };
    return kernels;
}

} // namespace
} // namespace magicmix::kernels
