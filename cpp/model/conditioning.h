#pragma once

#include "base/cancellation.h"
#include "model/placed.h"
#include "model/text_encoder.h"

#include <cstdint>
#include <vector>

namespace magicmix {

/// What a prompt is turned into: everything that the UNet is told of it.
struct Conditioning {
    std::vector<float> context; ///< text states `[77, width]`
};

/// `tokens`: the 77 ids of a prompt. Throws `NOT_FINITE` if the text encoder overflows.
Conditioning encodePrompt(const Placed<TextEncoder> &encoder,
                          const std::vector<std::int32_t> &tokens, const Cancellation &cancel);

/// Between two prompts: weight 0 gives `a`, 1 gives `b`.
Conditioning interpolate(const Conditioning &a, const Conditioning &b, double weight);

} // namespace magicmix
