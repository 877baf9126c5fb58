// What stops ggml's kernels for CUDA, as far as it can be told without a GPU: at some of it the
// real backend ends the process, at the rest it computes nonsense. The numbers are those of its
// sources in src/ggml-cuda. Our own kernels in cpp/cuda need no row here: what they have no room
// for they leave to ggml's.

#pragma once

#include <ggml.h>

#include <string>

/// Whether CUDA has a kernel for an operation that the CPU has; what it lacks is left to the CPU.
bool cudaHas(const ggml_tensor *operation);

/// Why CUDA could not compute an operation although it says that it has it; empty if it can.
std::string cudaFailsAt(const ggml_tensor *operation);
