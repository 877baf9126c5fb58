#include "mix/attention.h"

#include "base/tokens.h"
#include "mix/mixing.h"

namespace magicmix {

std::vector<float> tokenScales(const std::vector<AttentionScale> &scales) {
    std::vector<float> factors(kContextLength, 1.0f);
    for (const auto &scale : scales) {
        factors[static_cast<std::size_t>(scale.position)] = scale.scale;
    }
    return factors;
}

std::vector<float> tokenScalesAt(const std::vector<AttentionScale> &scales, int i, int steps) {
    std::vector<AttentionScale> active;
    for (const auto &scale : scales) {
        if (i >= indexAt(scale.to, steps) && i < indexAt(scale.from, steps)) {
            active.push_back(scale);
        }
    }
    return tokenScales(active);
}

} // namespace magicmix
