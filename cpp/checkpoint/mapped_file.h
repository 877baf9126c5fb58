#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace magicmix {

/// Which file it is, and whether it has been written: by these the system tells files apart.
struct FileIdentity {
    std::uint64_t device = 0, inode = 0, size = 0;
    std::int64_t modified = 0; ///< in the system's smallest unit

    bool operator==(const FileIdentity &other) const {
        return device == other.device && inode == other.inode && size == other.size &&
               modified == other.modified;
    }
};

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

    /// Is there another file at that path now, or has somebody written into it?
    bool isReplaced() const;
    /// Throws `MODEL_NOT_FOUND` if the file is gone, `MODEL_FORMAT` if it has changed.
    void requireUnchanged() const;

    /// Tells the system that a range will not be read again, so that it stops counting as ours.
    void release(std::uint64_t offset, std::uint64_t bytes) const;

private:
    MappedFile() = default;

    std::string path_;
    const std::byte *data_ = nullptr;
    std::uint64_t size_ = 0;
    FileIdentity identity_;
};

} // namespace magicmix
