#include "lora/lengths.h"

#include "lora/values.h"

#include <cmath>

namespace magicmix {
namespace {

/// The shape of the lengths, with as many axes as a kernel has.
KernelShape lengthsShape(const LoraChange &change, const KernelShape &shape) {
    return change.ofRows ? KernelShape(shape.out, 1, 1, 1) : KernelShape(change.lengths->shape);
}

/// Calls `visit(length's index, weight's index)` for all weights.
template <typename Visit>
void eachWeight(const KernelShape &shape, const KernelShape &lengths, Visit visit) {
    const auto step = [](std::int64_t length, std::int64_t stride) {
        return length == 1 ? 0 : stride; // the same for the whole axis
    };
    const std::int64_t column = step(lengths.width, 1);
    const std::int64_t line = step(lengths.height, lengths.width);
    const std::int64_t in = step(lengths.in, lengths.height * lengths.width);
    const std::int64_t out = step(lengths.out, lengths.in * lengths.height * lengths.width);
    std::size_t at = 0;
    for (std::int64_t o = 0; o < shape.out; o++) {
        for (std::int64_t i = 0; i < shape.in; i++) {
            for (std::int64_t y = 0; y < shape.height; y++) {
                for (std::int64_t x = 0; x < shape.width; x++) {
                    visit(static_cast<std::size_t>(o * out + i * in + y * line + x * column), at++);
                }
            }
        }
    }
}

} // namespace

bool lengthsFit(const LoraChange &change, const KernelShape &shape) {
    const StoredTensor &lengths = *change.lengths;
    if (lengths.shape.size() > 4) return false;
    if (change.ofRows) {
        std::int64_t longest = 1, others = 0;
        for (const std::int64_t length : lengths.shape) {
            if (length != 1) others++;
            longest = length != 1 ? length : longest;
        }
        return others <= 1 && longest == shape.out;
    }
    const KernelShape given(lengths.shape);
    const auto one = [](std::int64_t length, std::int64_t whole) {
        return length == 1 || length == whole;
    };
    return one(given.out, shape.out) && one(given.in, shape.in) &&
           one(given.height, shape.height) && one(given.width, shape.width);
}

void bringToLengths(const LoraChange &change, const KernelShape &shape,
                    std::vector<float> &weights) {
    const std::vector<float> lengths = floatsOf(*change.lengths);
    const KernelShape given = lengthsShape(change, shape);
    std::vector<double> factors(lengths.size(), 0.0);
    eachWeight(shape, given, [&](std::size_t length, std::size_t at) {
        factors[length] += static_cast<double>(weights[at]) * static_cast<double>(weights[at]);
    });
    for (std::size_t i = 0; i < factors.size(); i++) {
        // What has no direction stays zero.
        factors[i] = factors[i] > 0 ? static_cast<double>(lengths[i]) / std::sqrt(factors[i]) : 0;
    }
    eachWeight(shape, given, [&](std::size_t length, std::size_t at) {
        weights[at] = static_cast<float>(static_cast<double>(weights[at]) * factors[length]);
    });
}

} // namespace magicmix
