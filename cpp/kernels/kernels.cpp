#include "kernels/kernels.h"

#include "error.h"
#include "kernels/instruction_sets.h"

#include <cstdlib>
#include <vector>

namespace magicmix::kernels {
namespace {

struct Candidate {
    const char *name;
    const Kernels *kernels;
    bool available;
};

/// The fastest first.
std::vector<Candidate> candidates() {
#if (defined(__x86_64__) || defined(_M_X64)) && defined(__GNUC__)
    __builtin_cpu_init();
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") &&
                        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                        __builtin_cpu_supports("avx512vl");
    const bool bf16 = avx512 && __builtin_cpu_supports("avx512bf16");
    return {{"avx512bf16", avx512bf16Kernels(), bf16},
            {"avx512", avx512Kernels(), avx512},
            {"avx2", avx2Kernels(), avx2},
            {"portable", portableKernels(), true}};
#elif defined(__aarch64__) || defined(_M_ARM64)
    return {{"neon", neonKernels(), true}, {"portable", portableKernels(), true}};
#else
    return {{"portable", portableKernels(), true}};
#endif
}

int roundUp(int n, int step) { return (n + step - 1) / step * step; }

int inStride(const WeightShape &shape) {
    return shape.storage == Storage::BF16 ? roundUp(shape.in, 2) : shape.in;
}

} // namespace

const Kernels *kernelsNamed(const std::string &name) {
    for (const auto &candidate : candidates()) {
        if (candidate.available && name == candidate.name) return candidate.kernels;
    }
    return nullptr;
}

const Kernels *chooseKernels(Storage storage) {
    const char *variable = std::getenv("MAGICMIX_KERNELS");
    const std::string wanted = variable == nullptr ? "" : variable;
    if (wanted == "off") return nullptr;
    std::string known;
    bool allowed = wanted.empty();
    for (const auto &candidate : candidates()) {
        if (!candidate.available) continue;
        known += std::string(candidate.name) + ", ";
        allowed = allowed || wanted == candidate.name;
        if (!allowed || (candidate.kernels->bf16Operands && storage != Storage::BF16)) continue;
        return candidate.kernels;
    }
    throw Error("INVALID_ARGUMENT",
                "the environment variable MAGICMIX_KERNELS is '" + wanted +
                    "'; on this machine it can be: " + known + "off",
                {{"kernels", wanted}});
}

bool hasBf16Products() {
    const Kernels *kernels = chooseKernels(Storage::BF16);
    return kernels != nullptr && kernels->bf16Operands;
}

// ---------------------------------------------------------------------------------------------
// Weights

int WeightPacker::panels() const {
    const int width = shape_.gated ? kernels_.lanes : kernels_.panelWidth;
    const int out = shape_.gated ? shape_.out / 2 : shape_.out;
    return (out + width - 1) / width;
}

std::int64_t WeightPacker::panelCount() const {
    return std::int64_t{shape_.taps} * inStride(shape_) * kernels_.panelWidth;
}

int WeightPacker::channelOf(int panel, int column) const {
    if (!shape_.gated) {
        const int channel = panel * kernels_.panelWidth + column;
        return channel < shape_.out ? channel : -1;
    }
    const int channel = panel * kernels_.lanes + column % kernels_.lanes;
    if (channel >= shape_.out / 2) return -1;
    return column < kernels_.lanes ? channel : shape_.out / 2 + channel;
}

template <typename T>
void WeightPacker::place(const T *channel, int column, T *packed) const {
    const int width = kernels_.panelWidth, stride = inStride(shape_);
    // In how many rows of a panel lie values side by side: bf16 comes in pairs.
    const int depth = shape_.storage == Storage::BF16 ? 2 : 1;
    for (int tap = 0; tap < shape_.taps; tap++) {
        T *to = packed + std::int64_t{tap} * stride * width + column * depth;
        for (int i = 0; i < shape_.in; i++) {
            to[std::int64_t{i / depth} * width * depth + i % depth] =
                channel[std::int64_t{i} * shape_.taps + tap];
        }
    }
}
template void WeightPacker::place(const std::uint16_t *, int, std::uint16_t *) const;
template void WeightPacker::place(const float *, int, float *) const;

std::int64_t packedCount(const Kernels &kernels, const WeightShape &shape) {
    const WeightPacker packer(kernels, shape);
    return packer.panels() * packer.panelCount();
}

// ---------------------------------------------------------------------------------------------
// Keys and values

std::int64_t packedKeysCount(const Kernels &kernels, const Attention &sizes) {
    return std::int64_t{sizes.images} * sizes.heads * roundUp(sizes.keyCount, kernels.panelWidth) *
           operandStride(kernels, sizes.width);
}

std::int64_t packedValuesCount(const Kernels &kernels, const Attention &sizes) {
    return std::int64_t{sizes.images} * sizes.heads * roundUp(sizes.keyCount, kernels.panelWidth) *
           roundUp(sizes.width, kernels.lanes);
}

} // namespace magicmix::kernels
