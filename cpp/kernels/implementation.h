#pragma once

// All kernels for the vectors of one instruction set.

#include "kernels/attention.h"
#include "kernels/norms.h"
#include "kernels/product.h"

namespace magicmix::kernels {
namespace {

template <typename S>
constexpr Kernels kernelsOf() {
    return {
        S::name,           S::depth == 2,       S::padding,         panelWidth<S>,     S::lanes,
        productScratch<S>, attentionScratch<S>, normScratch,        product<S>,        packKeys<S>,
        packValues<S>,     attention<S>,        groupStatistics<S>, groupNormalise<S>, layerNorm<S>,
        toOperand<S>,
    };
}

} // namespace
} // namespace magicmix::kernels
