#include "checkpoint/weights_hash.h"

#include "base/text.h"

#include <cstdio>

namespace magicmix {
namespace {

// Training changes every tensor, and of each nearly all values.
constexpr std::uint64_t kWholeBytes = 4096, kSampleBytes = 1024, kSamples = 4;

/// FNV-1a
class Hash {
public:
    void add(const std::byte *bytes, std::size_t count) {
        for (std::size_t i = 0; i < count; i++) {
            value_ = (value_ ^ static_cast<std::uint64_t>(bytes[i])) * 0x100000001b3;
        }
    }
    void add(const std::string &text) {
        add(reinterpret_cast<const std::byte *>(text.c_str()), text.size() + 1);
    }
    std::string text() const {
        char digits[17];
        std::snprintf(digits, sizeof digits, "%016llx", static_cast<unsigned long long>(value_));
        return digits;
    }

private:
    std::uint64_t value_ = 0xcbf29ce484222325;
};

/// Some formats write the matrix `[C, C]` as the convolution `[C, C, 1, 1]`.
std::string textOf(std::vector<std::int64_t> shape) {
    while (shape.size() > 2 && shape.back() == 1) shape.pop_back();
    std::string text;
    for (const std::int64_t size : shape) text += std::to_string(size) + ",";
    return text;
}

void addValues(Hash &hash, const StoredTensor &tensor) {
    WeightSource::Values whole; // of a tensor that does not lie as it is meant
    if (!tensor.strides.empty()) whole = valuesOf(tensor);
    const std::uint64_t bytes = whole.data ? whole.bytes : tensor.bytes;
    const auto add = [&](std::uint64_t offset, std::uint64_t count) {
        if (whole.data) return hash.add(whole.data.get() + offset, count);
        const auto values = tensor.file->read(tensor.offset + offset, count);
        hash.add(values.data(), values.size());
    };
    if (bytes <= kWholeBytes) {
        add(0, bytes);
        return;
    }
    for (std::uint64_t i = 0; i < kSamples; i++) {
        add((bytes - kSampleBytes) / (kSamples - 1) * i, kSampleBytes);
    }
}

} // namespace

std::string weightsHash(const StoredTensors &tensors, const std::vector<std::string> &prefixes) {
    Hash hash;
    for (const auto &prefix : prefixes) {
        for (auto it = tensors.lower_bound(prefix); it != tensors.end(); ++it) {
            const auto &[name, tensor] = *it;
            if (!startsWith(name, prefix)) break;
            hash.add(name);
            hash.add(tensor.type);
            hash.add(textOf(tensor.shape));
            addValues(hash, tensor);
        }
    }
    return hash.text();
}

} // namespace magicmix
