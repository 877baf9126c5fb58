#pragma once

#include "checkpoint/mapped_file.h"

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace magicmix {

/// Where a tensor's values lie in a file. Offsets and sizes have been checked against the file.
struct StoredTensor {
    std::string name;                ///< as in the file
    std::string type;                ///< "F32", "F16", "BF16", or another that safetensors knows
    std::vector<std::int64_t> shape; ///< torch order
    std::shared_ptr<const MappedFile> file;
    std::uint64_t offset = 0; ///< from the start of the file
    std::uint64_t bytes = 0;
};

using StoredTensors = std::map<std::string, StoredTensor>;

} // namespace magicmix
