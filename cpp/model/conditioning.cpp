#include "model/conditioning.h"

#include "base/numbers.h"
#include "model/finite.h"

namespace magicmix {

Conditioning encodePrompt(const Placed<TextEncoder> &encoder,
                          const std::vector<std::int32_t> &tokens, const Cancellation &cancel) {
    Conditioning conditioning{runTextEncoder(encoder, tokens, cancel)};
    requireFinite(conditioning.context, "the text encoder");
    return conditioning;
}

Conditioning interpolate(const Conditioning &a, const Conditioning &b, double weight) {
    return {interpolate(a.context, b.context, static_cast<float>(weight))};
}

} // namespace magicmix
