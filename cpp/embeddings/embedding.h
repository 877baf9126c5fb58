#pragma once

#include <string>

namespace magicmix {

/// A file of textual inversion, and what stands for it in prompts.
struct EmbeddingFile {
    std::string placeholder;
    std::string path;
};

/// A placeholder that is loaded. Its tokens' ids follow those of the placeholder before it, the
/// first's those of CLIP's own vocabulary.
struct Embedding {
    std::string placeholder;
    int tokens = 0; ///< how many it takes in a prompt
};

} // namespace magicmix
