#include "model/conditioning.h"

#include "base/numbers.h"
#include "base/tokens.h"
#include "mix/blending.h"

namespace magicmix {
namespace {

/// Rows of `a` followed by those of `b`, row by row.
std::vector<float> sideBySide(const std::vector<float> &a, const std::vector<float> &b) {
    const auto widthA = static_cast<std::ptrdiff_t>(a.size()) / kContextLength;
    const auto widthB = static_cast<std::ptrdiff_t>(b.size()) / kContextLength;
    std::vector<float> joined;
    joined.reserve(a.size() + b.size());
    for (std::ptrdiff_t row = 0; row < kContextLength; row++) {
        joined.insert(joined.end(), a.begin() + row * widthA, a.begin() + (row + 1) * widthA);
        joined.insert(joined.end(), b.begin() + row * widthB, b.begin() + (row + 1) * widthB);
    }
    return joined;
}

} // namespace

Conditioning encodePrompt(const std::vector<Placed<TextEncoder>> &encoders,
                          const std::vector<std::int32_t> &tokens, const Cancellation &cancel) {
    Conditioning all;
    for (const auto &encoder : encoders) {
        Conditioning one = runTextEncoder(encoder, tokens, cancel);
        all.context = sideBySide(all.context, one.context);
        if (!one.pooled.empty()) all.pooled = std::move(one.pooled);
    }
    return all;
}

std::vector<std::int32_t> emptyPrompt(std::int32_t padding) {
    std::vector<std::int32_t> tokens(kContextLength, padding);
    tokens[0] = kBeginOfText;
    tokens[1] = kEndOfText;
    return tokens;
}

Conditioning interpolate(const Conditioning &a, const Conditioning &b, double weight) {
    const auto w = static_cast<float>(weight);
    return {interpolate(a.context, b.context, w), interpolate(a.pooled, b.pooled, w)};
}

Conditioning swapped(const Conditioning &a, const Conditioning &b, double share,
                     std::uint64_t draw) {
    Generator generator(draw);
    const auto exchange = [&](const std::vector<float> &of, const std::vector<float> &from,
                              std::size_t width) {
        return withColumns(of, from, chosenColumns(width, share, generator));
    };
    Conditioning result;
    result.context = exchange(a.context, b.context, a.context.size() / kContextLength);
    result.pooled = exchange(a.pooled, b.pooled, a.pooled.size());
    return result;
}

} // namespace magicmix
