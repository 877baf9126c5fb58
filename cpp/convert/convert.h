#pragma once

#include "base/cancellation.h"
#include "base/progress.h"
#include "checkpoint/checkpoint.h"
#include "model/model_config.h"

#include <cstdint>
#include <map>
#include <string>

namespace magicmix {

struct ConvertOptions {
    ModelFiles input;
    std::string output; ///< ends in ".gguf" or ".safetensors"
    /// Of the large weights: "f32", "f16", "bf16"; in GGUF also "q8_0", "q6_k", "q5_k", "q5_1",
    /// "q5_0", "q4_k", "q4_1", "q4_0", "q3_k", "q2_k".
    std::string type = "f16";
    /// Of the quantised types: leaves convolutions at 16 bits, so that all tensors have their
    /// shapes.
    bool compatible = false;
    bool overwrite = false; ///< an output that exists
    ModelConfig config;     ///< written into the output
};

struct Conversion {
    std::string path;
    std::uint64_t bytes = 0;
    std::map<std::string, int> tensorsOfType; ///< how many tensors were written in each type
};

/// Writes what mixing needs of a checkpoint as one file in the original naming. Needs little
/// memory, whatever the size of the model; the output is there whole or not at all.
/// Throws what `Checkpoint::open` throws, `DISK_FULL`, `FILE_UNWRITABLE`.
Conversion convert(const ConvertOptions &options, const Cancellation &cancel,
                   const ProgressCallback &progress);

} // namespace magicmix
