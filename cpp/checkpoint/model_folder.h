#pragma once

#include "base/cancellation.h"
#include "checkpoint/json.h"
#include "checkpoint/stored_tensor.h"

#include <filesystem>
#include <string>

namespace magicmix {

/// A folder of diffusers, whose files are named relative to it. They may be links elsewhere: people
/// keep large ones once.
class ModelFolder {
public:
    /// `cancel` outlives this.
    ModelFolder(const std::string &root, const Cancellation &cancel)
        : root_(std::filesystem::u8path(root)), cancel_(&cancel) {}

    std::string root() const { return root_.u8string(); }
    std::string path(const std::filesystem::path &file) const { return (root_ / file).u8string(); }

    bool has(const std::filesystem::path &file) const {
        std::error_code ignored;
        return std::filesystem::exists(root_ / file, ignored);
    }

    /// Of a file of at most 16 MiB.
    std::string text(const std::filesystem::path &file) const { return readTextFile(path(file)); }
    Json json(const std::filesystem::path &file) const { return parseJsonFile(path(file)); }

    /// The weights of a part, in one file or in shards: `stem`.safetensors, or `pickledStem`.bin
    /// where there is no such file; with or without the variant "fp16". Throws `MODEL_NOT_FOUND`.
    StoredTensors weights(const std::filesystem::path &part, const std::string &stem,
                          const std::string &pickledStem) const;

private:
    StoredTensors tensors(const std::filesystem::path &file) const;
    StoredTensors shards(const std::filesystem::path &part, const std::string &index) const;

    std::filesystem::path root_;
    const Cancellation *cancel_;
};

} // namespace magicmix
