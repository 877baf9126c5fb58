#include "kernels/kernels.h"

#include "base/error.h"
#include "kernels/instruction_sets.h"
#include "kernels/simd_scalar.h"

#include <algorithm>
#include <cmath>
#include <type_traits>
#include <vector>

#if (defined(__x86_64__) || defined(_M_X64)) && defined(__GNUC__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#endif

namespace magicmix::kernels {
namespace {

struct Candidate {
    const char *name;
    const Kernels *kernels;
    bool supported; ///< by the processor, and compiled
    /// Asks the system, which for tiles changes what the process may do.
    bool (*granted)() = [] { return true; };

    bool available() const { return supported && granted(); }
};

#if (defined(__x86_64__) || defined(_M_X64)) && defined(__GNUC__)
/// Whether the processor multiplies tiles of bf16, and the system lets this process do so: Linux
/// grants their 8 KiB of registers to a process that asks.
bool mayUseTiles() {
#if defined(__linux__)
    unsigned a = 0, b = 0, c = 0, d = 0;
    constexpr unsigned bf16Tiles = 1u << 22, tiles = 1u << 24;
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return false;
    if ((d & bf16Tiles) == 0 || (d & tiles) == 0) return false;
    constexpr long requestPermission = 0x1023, tileRegisters = 18;
    return syscall(SYS_arch_prctl, requestPermission, tileRegisters) == 0;
#else
    return false;
#endif
}
#endif

/// The fastest first.
std::vector<Candidate> candidates() {
#if (defined(__x86_64__) || defined(_M_X64)) && defined(__GNUC__)
    __builtin_cpu_init();
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") &&
                        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                        __builtin_cpu_supports("avx512vl");
    const bool bf16 = avx512 && __builtin_cpu_supports("avx512bf16");
    return {{"amx", amxKernels(), bf16 && amxKernels() != nullptr, mayUseTiles},
            {"avx512bf16", avx512bf16Kernels(), bf16},
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

} // namespace

const Kernels *kernelsNamed(const std::string &name) {
    for (const auto &candidate : candidates()) {
        if (name == candidate.name && candidate.available()) return candidate.kernels;
    }
    return nullptr;
}

bool isFastInBf16(const Kernels &kernels) {
    if (!kernels.bf16Operands) return false;
#if (defined(__x86_64__) || defined(_M_X64)) && defined(__GNUC__)
    __builtin_cpu_init();
    return &kernels != avx512bf16Kernels() || !__builtin_cpu_is("intel");
#else
    return true;
#endif
}

const Kernels *chooseKernels(Storage storage, const std::string &best) {
    if (best == "off") return nullptr;
    bool allowed = best.empty();
    for (const auto &candidate : candidates()) {
        if (!candidate.supported) continue;
        const bool isNamed = best == candidate.name;
        const bool fits = !candidate.kernels->bf16Operands || storage == Storage::BF16;
        // What will not be used is not asked for.
        if (!isNamed && !(allowed && fits)) continue;
        if (!candidate.available()) continue;
        allowed = true;
        if (fits) return candidate.kernels;
    }
    std::string known;
    for (const auto &candidate : candidates()) {
        if (candidate.available()) known += std::string(candidate.name) + ", ";
    }
    throw Error("INVALID_ARGUMENT",
                "the environment variable MAGICMIX_KERNELS is '" + best +
                    "'; on this machine it can be: " + known + "off",
                {{"kernels", best}});
}

// ---------------------------------------------------------------------------------------------
// Weights

int WeightPacker::panels() const {
    const int width = shape_.gated ? kernels_.lanes : kernels_.panelWidth;
    const int out = shape_.gated ? shape_.out / 2 : shape_.out;
    return (out + width - 1) / width;
}

std::int64_t WeightPacker::panelBytes() const {
    return packedBytes(shape_.storage,
                       std::int64_t{shape_.taps} * paddedInputs() * kernels_.panelWidth);
}

int WeightPacker::paddedInputs() const {
    const int inputs = kernels::paddedInputs(shape_);
    return shape_.storage == Storage::BF16 ? roundUp(inputs, kernels_.padding) : inputs;
}

int WeightPacker::channelOf(int panel, int column) const {
    return channelInPanel(shape_, kernels_.lanes, panel, column);
}

template <typename T>
void WeightPacker::pack(const T *channels, void *panel) const {
    if constexpr (std::is_same_v<T, float>) {
        if (shape_.storage == Storage::Q8) return packQ8(channels, static_cast<std::byte *>(panel));
    }
    const int width = kernels_.panelWidth;
    // Values of a channel that lie side by side: bf16 comes in pairs.
    const int depth = shape_.storage == Storage::BF16 ? 2 : 1;
    const std::int64_t length = std::int64_t{shape_.in} * shape_.taps;
    T *to = static_cast<T *>(panel);
    for (int tap = 0; tap < shape_.taps; tap++) {
        for (int i = 0; i < paddedInputs(); i += depth) {
            for (int column = 0; column < width; column++) {
                const T *from = channels + column * length + std::int64_t{i} * shape_.taps + tap;
                for (int d = 0; d < depth; d++) {
                    *to++ = i + d < shape_.in ? from[std::int64_t{d} * shape_.taps] : T{};
                }
            }
        }
    }
}
template void WeightPacker::pack(const std::uint16_t *, void *) const;
template void WeightPacker::pack(const float *, void *) const;

void WeightPacker::packQ8(const float *channels, std::byte *panel) const {
    const int width = kernels_.panelWidth;
    const std::int64_t length = std::int64_t{shape_.in} * shape_.taps;
    for (int tap = 0; tap < shape_.taps; tap++) {
        for (int first = 0; first < shape_.in; first += kQ8Block) {
            auto *factors = reinterpret_cast<std::uint16_t *>(panel);
            auto *bytes = reinterpret_cast<std::int8_t *>(factors + width);
            const int count = std::min(kQ8Block, shape_.in - first);
            for (int column = 0; column < width; column++) {
                const float *from =
                    channels + column * length + std::int64_t{first} * shape_.taps + tap;
                float largest = 0;
                for (int i = 0; i < count; i++) {
                    largest = std::max(largest, std::fabs(from[std::int64_t{i} * shape_.taps]));
                }
                Scalar::storeF16(factors + column, largest / 127);
                const float factor = Scalar::loadF16(factors + column);
                for (int i = 0; i < kQ8Block; i++) {
                    const float x = i < count ? from[std::int64_t{i} * shape_.taps] : 0;
                    const float steps = factor > 0 ? std::nearbyint(x / factor) : 0;
                    bytes[i * width + column] =
                        static_cast<std::int8_t>(std::min(std::max(steps, -127.0f), 127.0f));
                }
            }
            panel += packedBytes(Storage::Q8, std::int64_t{kQ8Block} * width);
        }
    }
}

std::int64_t packedBytes(const Kernels &kernels, const WeightShape &shape) {
    if (shape.storage == Storage::Blocks) return shape.out * rowBytes(shape);
    const WeightPacker packer(kernels, shape);
    return packer.panels() * packer.panelBytes();
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
