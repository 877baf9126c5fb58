#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace magicmix {

/// Values inside a network, for comparison with a reference.
struct StageValues {
    std::string name; ///< as the block is called in the original checkpoint: "input_blocks.3"
    std::vector<std::int64_t> shape; ///< torch order
    std::vector<float> values;
};

} // namespace magicmix
