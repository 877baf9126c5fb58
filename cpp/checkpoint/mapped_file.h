#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace magicmix {

/// A whole file, mapped read-only. May be used from several threads.
class MappedFile {
public:
    /// Throws `MODEL_NOT_FOUND` or `MODEL_FORMAT` (not a regular file, or empty).
    static std::shared_ptr<const MappedFile> open(const std::string &path);
    ~MappedFile();
    MappedFile(const MappedFile &) = delete;
    MappedFile &operator=(const MappedFile &) = delete;

    const std::string &path() const { return path_; }
    const std::byte *data() const { return data_; }
    std::uint64_t size() const { return size_; }

    /// Tells the system that a range will not be read again, so that it stops counting as ours.
    void release(std::uint64_t offset, std::uint64_t bytes) const;

private:
    MappedFile() = default;

    std::string path_;
    const std::byte *data_ = nullptr;
    std::uint64_t size_ = 0;
};

} // namespace magicmix
