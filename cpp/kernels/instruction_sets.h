#pragma once

#include "kernels/kernels.h"

namespace magicmix::kernels {

// One file each, compiled for that instruction set. Whether the machine has it is for the caller to
// know.
const Kernels *amxKernels(); ///< null where the compiler does not know them
const Kernels *avx512bf16Kernels();
const Kernels *avx512Kernels();
const Kernels *avx2Kernels();
const Kernels *neonKernels();
const Kernels *portableKernels();

} // namespace magicmix::kernels
