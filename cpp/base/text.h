#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace magicmix {

inline bool startsWith(const std::string &text, const std::string &prefix) {
    return text.compare(0, prefix.size(), prefix) == 0;
}

inline bool endsWith(const std::string &text, const std::string &end) {
    return text.size() >= end.size() &&
           text.compare(text.size() - end.size(), end.size(), end) == 0;
}

inline bool contains(const std::string &text, const std::string &part) {
    return text.find(part) != std::string::npos;
}

/// What follows `prefix`; empty if `text` does not start with it.
inline std::optional<std::string> after(const std::string &text, const std::string &prefix) {
    if (!startsWith(text, prefix)) return std::nullopt;
    return text.substr(prefix.size());
}

/// "[77, 768]"
std::string shapeText(const std::vector<std::int64_t> &shape);

} // namespace magicmix
