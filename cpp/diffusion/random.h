#pragma once

#include <cstdint>
#include <optional>
#include <random>
#include <vector>

namespace magicmix {

/// PyTorch's CPU generator: the same seed gives the numbers of `torch.manual_seed(seed)` followed
/// by calls of `torch.randn`, to float32 rounding (PyTorch's vectorised logarithm and cosine differ
/// from the C library's by about 5e-7).
class Generator {
public:
    /// PyTorch's generator takes the low 32 bits of the seed.
    explicit Generator(std::uint64_t seed) : engine_(static_cast<std::uint32_t>(seed)) {}

    std::vector<float> randn(std::size_t count);

private:
    /// Box-Muller over a block of 16 uniform numbers, in place.
    void fillBlock(float *block);
    double nextNormal();
    double uniform53();

    std::mt19937 engine_;
    std::optional<double> spare_; ///< short tensors take normals in pairs
};

/// A generator for each of several seeds.
class Generators {
public:
    explicit Generators(const std::vector<std::uint64_t> &seeds)
        : each_(seeds.begin(), seeds.end()) {}

    /// As many numbers of every seed, one seed's behind the other's.
    std::vector<float> randn(std::size_t countOfEach);

private:
    std::vector<Generator> each_;
};

/// The numbers of `torch.manual_seed(seed); torch.randn(count)` on the CPU, to float32 rounding.
std::vector<float> randn(std::uint64_t seed, std::size_t count);

} // namespace magicmix
