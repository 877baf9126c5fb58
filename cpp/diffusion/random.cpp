#include "diffusion/random.h"

#include <cmath>

namespace magicmix {
namespace {

constexpr double kTwoPi = 6.283185307179586476925286766559;
constexpr std::size_t kBlock = 16;

} // namespace

std::vector<float> Generator::randn(std::size_t count) {
    std::vector<float> values(count);
    if (count < kBlock) {
        for (auto &value : values) value = static_cast<float>(nextNormal());
        return values;
    }
    const auto drawUniform = [this] {
        return static_cast<float>(engine_() & 0xFFFFFFu) * (1.0f / 16777216.0f);
    };
    for (auto &value : values) value = drawUniform();
    for (std::size_t i = 0; i + kBlock <= count; i += kBlock) fillBlock(&values[i]);
    if (count % kBlock != 0) {
        float *last = &values[count - kBlock];
        for (std::size_t i = 0; i < kBlock; i++) last[i] = drawUniform();
        fillBlock(last);
    }
    return values;
}

void Generator::fillBlock(float *block) {
    constexpr std::size_t half = kBlock / 2;
    for (std::size_t j = 0; j < half; j++) {
        const float radius = std::sqrt(-2.0f * std::log(1.0f - block[j]));
        const float angle = static_cast<float>(kTwoPi) * block[j + half];
        block[j] = radius * std::cos(angle);
        block[j + half] = radius * std::sin(angle);
    }
}

double Generator::nextNormal() {
    if (spare_) {
        const double value = *spare_;
        spare_.reset();
        return value;
    }
    const double u1 = uniform53(), u2 = uniform53();
    const double radius = std::sqrt(-2.0 * std::log1p(-u2));
    const double angle = kTwoPi * u1;
    spare_ = radius * std::sin(angle);
    return radius * std::cos(angle);
}

double Generator::uniform53() {
    const std::uint64_t high = engine_(), low = engine_();
    return static_cast<double>(((high << 32) | low) & ((std::uint64_t{1} << 53) - 1)) *
           (1.0 / 9007199254740992.0);
}

std::vector<float> Generators::randn(std::size_t countOfEach) {
    std::vector<float> all;
    for (Generator &generator : each_) {
        const std::vector<float> one = generator.randn(countOfEach);
        all.insert(all.end(), one.begin(), one.end());
    }
    return all;
}

std::vector<float> randn(std::uint64_t seed, std::size_t count) {
    return Generator(seed).randn(count);
}

} // namespace magicmix
