#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace magicmix {

/// A file of textual inversion, and what stands for it in prompts.
struct EmbeddingFile {
    std::string placeholder;
    std::string path;
};

/// A placeholder that is loaded, and how it is found in a prompt.
struct Embedding {
    std::string placeholder;
    std::vector<std::int32_t> ids; ///< of its tokens in a prompt
    bool anyCase = false;          ///< found in upper and lower case alike
    bool wholeWord = true;         ///< if it begins or ends as a word, not found in a longer one
};

} // namespace magicmix
