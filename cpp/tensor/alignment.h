#pragma once

#include <cstddef>
#include <cstdint>

namespace magicmix {

// ggml aligns tensors to 32 bytes; a vector of AVX-512 that crosses a cache line takes two loads.
// Packed tensors therefore have room for one line more and begin where a line does.
constexpr std::size_t kCacheLine = 64;

inline void *aligned(void *memory) {
    const auto address = reinterpret_cast<std::uintptr_t>(memory);
    return static_cast<std::byte *>(memory) + (kCacheLine - address % kCacheLine) % kCacheLine;
}

/// `count` values of that size and room to align them.
inline std::int64_t withAlignment(std::int64_t count, std::size_t size) {
    return count + static_cast<std::int64_t>(kCacheLine / size);
}

} // namespace magicmix
