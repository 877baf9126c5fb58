#pragma once

#include <vector>

namespace magicmix {

/// A cross-attention scale for one token of the content prompt (paper, section 3.3.2).
struct AttentionScale {
    int text = 0;     ///< of a prompt with several, the one that it belongs to
    int position = 0; ///< column of the attention map: 0 is BOS, 1 the first token
    float scale = 1;  ///< in [-2, 2]
    double from = 0;  ///< the window in which it acts, in fractions of T like kMin and kMax:
    double to = 1;    ///< steps i with N - floor(to N) <= i < N - floor(from N)
};

/// The 77 factors of all scales, whatever their windows. Of two scales for one token the later
/// wins.
std::vector<float> tokenScales(const std::vector<AttentionScale> &scales);
/// The 77 factors of those scales whose window covers step i of N.
std::vector<float> tokenScalesAt(const std::vector<AttentionScale> &scales, int i, int steps);

} // namespace magicmix
