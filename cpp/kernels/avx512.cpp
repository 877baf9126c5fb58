#if defined(__x86_64__) || defined(_M_X64)
#include "kernels/simd_avx512.h"

#include "kernels/implementation.h"
#include "kernels/instruction_sets.h"

namespace magicmix::kernels {

const Kernels *avx512Kernels() {
    static constexpr Kernels kernels = kernelsOf<Avx512>();
    return &kernels;
}

} // namespace magicmix::kernels
#endif
