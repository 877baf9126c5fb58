#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace magicmix {

inline bool startsWith(std::string_view text, std::string_view prefix) {
    return text.substr(0, prefix.size()) == prefix;
}

inline bool endsWith(std::string_view text, std::string_view end) {
    return text.size() >= end.size() && text.substr(text.size() - end.size()) == end;
}

inline bool contains(std::string_view text, std::string_view part) {
    return text.find(part) != std::string_view::npos;
}

/// What follows `prefix`; empty if `text` does not start with it.
inline std::optional<std::string> after(const std::string &text, std::string_view prefix) {
    if (!startsWith(text, prefix)) return std::nullopt;
    return text.substr(prefix.size());
}

/// "[77, 768]"
std::string shapeText(const std::vector<std::int64_t> &shape);

} // namespace magicmix
