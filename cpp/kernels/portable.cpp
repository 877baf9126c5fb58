#include "kernels/simd_portable.h"

#include "kernels/implementation.h"
#include "kernels/instruction_sets.h"

namespace magicmix::kernels {

const Kernels *portableKernels() {
    static constexpr Kernels kernels = kernelsOf<Portable>();
    return &kernels;
}

} // namespace magicmix::kernels
