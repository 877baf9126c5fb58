#if defined(__AMX_BF16__)
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
#elif defined(__x86_64__) || defined(_M_X64)
#include "kernels/instruction_sets.h"

namespace magicmix::kernels {

const Kernels *amxKernels() { return nullptr; }

} // namespace magicmix::kernels
#endif
