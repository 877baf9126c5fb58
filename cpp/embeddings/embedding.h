#pragma once

#include <string>

namespace magicmix {

/// A file of textual inversion, and what stands for it in prompts.
struct EmbeddingFile {
    std::string placeholder;
    std::string path;
};

/// The ids of a placeholder: `tokens` of them from `firstId` on, behind those of the model's
/// vocabulary.
struct Embedding {
    std::string placeholder;
    int firstId = 0, tokens = 0;
};

} // namespace magicmix
