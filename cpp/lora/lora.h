#pragma once

#include <string>

namespace magicmix {

/// A file of low-rank changes to the weights, and how strong they are: 1 as it was trained.
struct Lora {
    std::string file;
    float strength = 1;
};

} // namespace magicmix
