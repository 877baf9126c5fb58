#pragma once

#include "base/cancellation.h"
#include "model/placed.h"
#include "model/sessions.h"

#include <cstdint>
#include <vector>

namespace magicmix {

/// `tokens`: the 77 ids of a prompt. Throws `NOT_FINITE` if the text encoder overflows.
Conditioning encodePrompt(const Placed<TextEncoder> &encoder,
                          const std::vector<std::int32_t> &tokens, const Cancellation &cancel);

/// Between two prompts: weight 0 gives `a`, 1 gives `b`.
Conditioning interpolate(const Conditioning &a, const Conditioning &b, double weight);

} // namespace magicmix
