#include "checkpoint/byte_reader.h"

#include "base/error.h"

#include <algorithm>

namespace magicmix {
namespace {

constexpr std::uint64_t kLargestWindow = 1 << 16;

} // namespace

void ByteReader::fail(const std::string &problem) const {
    throw Error("MODEL_FORMAT", "'" + file_->path() + "' " + problem, {{"path", file_->path()}});
}

void ByteReader::requireLeft(std::uint64_t bytes, const char *what) const {
    if (bytes <= left()) return;
    fail("ends within " + std::string(what) + ": at byte " + std::to_string(at_) + ", " +
         std::to_string(bytes) + " are wanted and " + std::to_string(left()) + " are left");
}

std::string_view ByteReader::window(std::uint64_t bytes) {
    const std::uint64_t windowEnd = windowStart_ + window_.size();
    if (at_ < windowStart_ || at_ + bytes > windowEnd) {
        cancel_->throwIfRequested();
        windowStart_ = at_;
        const std::uint64_t wanted = std::min(left(), std::max(bytes, nextWindow_));
        window_ = file_->readText(at_, static_cast<std::size_t>(wanted));
        nextWindow_ = std::min(2 * nextWindow_, kLargestWindow);
    }
    return std::string_view(window_).substr(static_cast<std::size_t>(at_ - windowStart_));
}

std::string_view ByteReader::take(std::uint64_t bytes, const char *what) {
    requireLeft(bytes, what);
    if (bytes > kMostBytes) {
        fail("has " + std::string(what) + " of " + std::to_string(bytes) + " bytes; at most " +
             std::to_string(kMostBytes) + " are read");
    }
    const auto taken = window(bytes).substr(0, static_cast<std::size_t>(bytes));
    at_ += bytes;
    return taken;
}

void ByteReader::skip(std::uint64_t bytes, const char *what) {
    requireLeft(bytes, what);
    at_ += bytes;
}

std::string_view ByteReader::line(const char *what) {
    // What the window has already is mostly enough.
    const std::uint64_t windowEnd = windowStart_ + window_.size();
    std::uint64_t most = std::min(left(), at_ < windowEnd ? windowEnd - at_ : 0);
    auto rest = window(most).substr(0, static_cast<std::size_t>(most));
    if (rest.find('\n') == std::string_view::npos) {
        most = std::min(left(), kLargestWindow);
        rest = window(most).substr(0, static_cast<std::size_t>(most));
    }
    const std::size_t length = rest.find('\n');
    if (length == std::string_view::npos) {
        if (rest.size() < left()) {
            fail("has " + std::string(what) + " of more than " + std::to_string(rest.size()) +
                 " bytes");
        }
        fail("ends within " + std::string(what));
    }
    at_ += length + 1;
    return rest.substr(0, length);
}

} // namespace magicmix
