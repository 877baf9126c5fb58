#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>

namespace magicmix {

/// A file that is there whole or not at all: it is written beside its place, without a name or
/// under one that ends in ".part", and moved there by `commit`. Without that it is removed. Throws
/// `DISK_FULL` or `FILE_UNWRITABLE`.
class OutputFile {
public:
    /// `bytes`: how large it will be, to refuse at once what would not fit.
    OutputFile(const std::string &path, std::uint64_t bytes);
    ~OutputFile();
    OutputFile(const OutputFile &) = delete;
    OutputFile &operator=(const OutputFile &) = delete;

    void write(const std::byte *data, std::size_t bytes);
    std::uint64_t position() const { return position_; }
    /// Puts what was written on the disk, and the file in its place.
    void commit();

private:
    [[noreturn]] void fail(int error) const;

    struct Close {
        void operator()(std::FILE *file) const { std::fclose(file); }
    };

    std::string path_, partPath_;
    bool nameless_ = false;
    std::unique_ptr<std::FILE, Close> file_;
    std::uint64_t position_ = 0;
};

} // namespace magicmix
