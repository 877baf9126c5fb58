#pragma once

#include "base/cancellation.h"
#include "model/placed.h"
#include "model/sessions.h"

#include <cstdint>
#include <vector>

namespace magicmix {

/// `tokens`: the 77 ids of a prompt; every encoder fills them up behind the end of the text in its
/// own way.
Conditioning encodePrompt(const std::vector<Placed<TextEncoder>> &encoders,
                          const std::vector<std::int32_t> &tokens, const Cancellation &cancel);

/// The ids of an empty prompt.
std::vector<std::int32_t> emptyPrompt(std::int32_t padding);

/// Between two prompts: weight 0 gives `a`, 1 gives `b`.
Conditioning interpolate(const Conditioning &a, const Conditioning &b, double weight);

/// `a` with a share of its columns exchanged for those of `b` (`chosenColumns`), and after these
/// the same share of the pooled vector's.
Conditioning swapped(const Conditioning &a, const Conditioning &b, double share,
                     std::uint64_t draw);

} // namespace magicmix
