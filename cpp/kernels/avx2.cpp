#if defined(__x86_64__) || defined(_M_X64)
#include "kernels/simd_avx2.h"

#include "kernels/implementation.h"
#include "kernels/instruction_sets.h"

namespace magicmix::kernels {

const Kernels *avx2Kernels() {
    static constexpr Kernels kernels = kernelsOf<Avx2>();
    return &kernels;
}

} // namespace magicmix::kernels
#endif
