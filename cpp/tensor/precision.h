#pragma once

#include "kernels/kernels.h"

#include <ggml.h>

#include <string>

namespace magicmix {

/// The type in which large weights are kept and multiplied. Where ggml multiplies, f16 and bf16
/// round the inputs of matrix products and convolutions to that type; our kernels round them for
/// bf16 only, if the machine multiplies that, and else not at all. Everything else (norms, softmax,
/// biases, what lies between operations) is f32. In q8_0, 32 weights share a factor in f16 and have
/// a byte each; only our kernels know it.
enum class Precision { F32, F16, BF16, Q8 };

/// "f32", "f16", "bf16", "q8_0"; "auto" gives bf16 where our kernels multiply it and the model is
/// to run there, else f16, the type that most checkpoints are stored in. Throws `INVALID_ARGUMENT`.
Precision parsePrecision(const std::string &name, bool hasBf16Kernels);
const char *precisionName(Precision precision);
ggml_type weightType(Precision precision);
kernels::Storage storageOf(Precision precision);

} // namespace magicmix
