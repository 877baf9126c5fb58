#if (defined(__x86_64__) || defined(_M_X64)) && !defined(_MSC_VER)
#include "kernels/product_amx.h"

#include "kernels/implementation.h"
#include "kernels/instruction_sets.h"

namespace magicmix::kernels {
namespace {

constexpr Kernels withTiles(Kernels kernels) {
    kernels.productScratch = tileProductScratch;
    kernels.product = tileProduct;
    return kernels;
}

} // namespace

const Kernels *amxKernels() {
    static constexpr Kernels kernels = withTiles(kernelsOf<Amx>());
    return &kernels;
}

} // namespace magicmix::kernels
#endif
