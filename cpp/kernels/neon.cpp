#if defined(__aarch64__) || defined(_M_ARM64)
#include "kernels/simd_neon.h"

#include "kernels/implementation.h"
#include "kernels/instruction_sets.h"

namespace magicmix::kernels {

const Kernels *neonKernels() {
    static constexpr Kernels kernels = kernelsOf<Neon>();
    return &kernels;
}

} // namespace magicmix::kernels
#endif
