#pragma once

#include <ggml.h>

#include <cstddef>
#include <optional>

namespace magicmix {

/// `count` values, whole blocks, in another type, written to `out`. What is finite there and could
/// be loaded in f16, or in q8_0, still can be: where rounding would carry the largest value of a
/// block beyond what these hold, the block is rounded towards zero. Gives a value that the type
/// cannot hold, if there is one.
std::optional<float> roundTo(ggml_type type, const float *values, std::size_t count,
                             std::byte *out);

} // namespace magicmix
