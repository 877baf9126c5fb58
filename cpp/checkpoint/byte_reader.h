#pragma once

#include "base/error.h"
#include "checkpoint/mapped_file.h"

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace magicmix {

/// Reads a part of a file from its front to its end, and never beyond. Numbers are little-endian.
class ByteReader {
public:
    /// `begin` and `end` must lie in the file.
    ByteReader(const MappedFile &file, std::uint64_t begin, std::uint64_t end)
        : file_(file), at_(begin), end_(end) {}

    const MappedFile &file() const { return file_; }
    std::uint64_t position() const { return at_; } ///< from the start of the file
    std::uint64_t left() const { return end_ - at_; }

    [[noreturn]] void fail(const std::string &problem) const {
        throw Error("MODEL_FORMAT", "'" + file_.path() + "' " + problem, {{"path", file_.path()}});
    }

    /// Bytes of the file itself; they live as long as it does.
    std::string_view take(std::uint64_t bytes, const char *what) {
        if (bytes > left()) {
            fail("ends within " + std::string(what) + ": at byte " + std::to_string(at_) + ", " +
                 std::to_string(bytes) + " are wanted and " + std::to_string(left()) + " are left");
        }
        const auto *from = reinterpret_cast<const char *>(file_.data() + at_);
        at_ += bytes;
        return {from, static_cast<std::size_t>(bytes)};
    }

    template <typename T>
    T number(const char *what) {
        T value;
        std::memcpy(&value, take(sizeof value, what).data(), sizeof value);
        return value;
    }

    /// Up to the next line feed, which is taken and not given.
    std::string_view line(const char *what) {
        const auto *from = reinterpret_cast<const char *>(file_.data() + at_);
        const std::string_view rest(from, static_cast<std::size_t>(left()));
        const std::size_t length = rest.find('\n');
        if (length == std::string_view::npos) fail("ends within " + std::string(what));
        at_ += length + 1;
        return rest.substr(0, length);
    }

private:
    const MappedFile &file_;
    std::uint64_t at_, end_;
};

} // namespace magicmix
