#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

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

/// A file that is open for reading, and stays so: if it is deleted or another takes its name, the
/// one that was opened is read. It is not mapped: of a file that somebody cuts short, a mapping
/// ends the process. May be used from several threads.
class InputFile {
public:
    /// Throws `MODEL_NOT_FOUND` or `MODEL_FORMAT` (not a regular file, or empty).
    static std::shared_ptr<const InputFile> open(const std::string &path);
    ~InputFile();
    InputFile(const InputFile &) = delete;
    InputFile &operator=(const InputFile &) = delete;

    const std::string &path() const { return path_; }
    /// As it was when the file was opened.
    std::uint64_t size() const { return identity_.size; }

    /// Reads a range. Throws `MODEL_FORMAT` if the file has become shorter, `MODEL_NOT_FOUND` if
    /// the system cannot read it.
    void read(std::uint64_t offset, std::size_t bytes, std::byte *to) const;
    std::vector<std::byte> read(std::uint64_t offset, std::size_t bytes) const;
    std::string readText(std::uint64_t offset, std::size_t bytes) const;

    /// Is there another file at that path now, or has somebody written into it?
    bool isReplaced() const;
    /// Throws `MODEL_NOT_FOUND` if the file is gone, `MODEL_FORMAT` if it has changed.
    void requireUnchanged() const;

private:
    class Handle; // the system's
    InputFile(const std::string &path, std::unique_ptr<const Handle> handle);

    std::string path_;
    std::unique_ptr<const Handle> handle_;
    FileIdentity identity_;
};

} // namespace magicmix
