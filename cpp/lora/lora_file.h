#pragma once

#include "base/cancellation.h"
#include "lora/lora_change.h"

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace magicmix {

/// A file of a LoRA, of any format that is read.
struct LoraFile {
    std::string path;
    std::map<std::string, LoraModule> modules; ///< by the names of `loraModules`
    /// The modules are those of a list without names.
    bool isList = false;
    /// The names of embeddings that the file brings along.
    std::vector<std::string> embeddings;

    /// Is there another file at that path by now? One that is gone lives on in who has it open.
    bool isReplaced() const;

    /// Reads the head of the file, and the factors of its modules. Throws `MODEL_NOT_FOUND`,
    /// `MODEL_FORMAT`, and `MODEL_UNSUPPORTED` for what is another kind of file, or another method
    /// than those in `LoraChange`, or declares what is not honoured.
    static std::shared_ptr<const LoraFile> open(const std::string &path,
                                                const Cancellation &cancel);

private:
    decltype(StoredTensor::file) file_;
    std::string configPath_; ///< of PEFT's configuration; may be empty
    std::optional<std::filesystem::file_time_type> configWritten_;
};

/// The file that a LoRA is in: `path` itself, or in a folder the one that diffusers or PEFT put
/// there. Throws `MODEL_NOT_FOUND` if there is none, and `MODEL_UNSUPPORTED` if there are several.
std::string loraFileAt(const std::string &path);

} // namespace magicmix
