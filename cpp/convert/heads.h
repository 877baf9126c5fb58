#pragma once

#include <ggml.h>

#include <cstdint>
#include <string>
#include <vector>

namespace magicmix {

/// A tensor of a file that is going to be written.
struct PlannedTensor {
    std::string name;
    std::vector<std::string> sources; ///< of the input, whose values stand one behind the other
    bool turned = false;              ///< from rows to columns
    ggml_type type = GGML_TYPE_F32;
    std::vector<std::int64_t> shape; ///< torch order
    std::uint64_t bytes = 0;
    std::uint64_t offset = 0; ///< from the start of the file; set by the functions below
};

/// The bytes before the values of a file with these tensors, whose offsets are set. `config` is
/// the JSON text that is kept under `kConfigurationKey`.
std::vector<std::byte> ggufHead(std::vector<PlannedTensor> &tensors, const std::string &config);
/// Throws `INVALID_ARGUMENT` for quantised tensors, which this format does not have.
std::vector<std::byte> safetensorsHead(std::vector<PlannedTensor> &tensors,
                                       const std::string &config);

} // namespace magicmix
