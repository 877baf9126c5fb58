#pragma once

#include "base/cancellation.h"
#include "checkpoint/input_file.h"

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace magicmix {

/// Reads a part of a file from its front to its end, and never beyond, through a small window.
/// Numbers are little-endian. Looks whether it was cancelled whenever the window moves on.
class ByteReader {
public:
    /// `begin` and `end` must lie in the file; the file and `cancel` outlive this.
    ByteReader(const InputFile &file, std::uint64_t begin, std::uint64_t end,
               const Cancellation &cancel)
        : file_(&file), cancel_(&cancel), at_(begin), end_(end) {}

    const InputFile &file() const { return *file_; }
    const Cancellation &cancellation() const { return *cancel_; }
    std::uint64_t position() const { return at_; } ///< from the start of the file
    std::uint64_t left() const { return end_ - at_; }

    /// Throws `MODEL_FORMAT`: "'FILE' PROBLEM".
    [[noreturn]] void fail(const std::string &problem) const;

    /// The next bytes, which stay valid until the next call. At most `kMostBytes`.
    std::string_view take(std::uint64_t bytes, const char *what);
    void skip(std::uint64_t bytes, const char *what);
    /// Up to the next line feed, which is taken and not given.
    std::string_view line(const char *what);

    template <typename T>
    T number(const char *what) {
        T value;
        std::memcpy(&value, take(sizeof value, what).data(), sizeof value);
        return value;
    }

    static constexpr std::uint64_t kMostBytes = 1 << 20;

private:
    void requireLeft(std::uint64_t bytes, const char *what) const;
    /// What the window has from here on: at least `bytes`, which are there.
    std::string_view window(std::uint64_t bytes);

    const InputFile *file_;
    const Cancellation *cancel_;
    std::uint64_t at_, end_;
    std::string window_;
    std::uint64_t windowStart_ = 0;  ///< from the start of the file
    std::uint64_t nextWindow_ = 512; ///< grows while more is read: many readers want a few bytes
};

} // namespace magicmix
