#pragma once

#include "kernels/kernels.h"

#include <ggml.h>

#include <string>

namespace magicmix {

/// The type in which large weights are kept and multiplied. Activations are always f32 between
/// operations; f16 and bf16 round the inputs of matrix products and convolutions to that type, as
/// ggml does. Everything else (norms, softmax, attention, biases) is f32.
enum class Precision { F32, F16, BF16 };

/// "f32", "f16", "bf16"; "auto" gives f16, the type that most checkpoints are stored in.
/// Throws `INVALID_ARGUMENT`.
Precision parsePrecision(const std::string &name);
const char *precisionName(Precision precision);
ggml_type weightType(Precision precision);
kernels::Storage storageOf(Precision precision);

} // namespace magicmix
