#pragma once

#include "engine/engine.h"

namespace magicmix {

// What a request must fulfil before a graph is built from it: ggml asserts, and an assertion ends
// the process. All throw `INVALID_ARGUMENT` with the name of the value at fault.

void checkMixRequest(const MixRequest &request, int vocabulary);
/// Multiples of 8 from 8 to 4096.
void checkSize(int width, int height);
void checkPixels(const std::vector<std::uint8_t> &rgb, int width, int height);
void checkLatent(const std::vector<float> &latent, int width, int height);
void checkTextStates(const std::vector<float> &states, int width);
void checkTokens(const std::vector<std::int32_t> &tokens, int vocabulary, const std::string &name);
void checkScales(const std::vector<AttentionScale> &scales);

} // namespace magicmix
