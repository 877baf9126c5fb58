#pragma once

#include <cstdint>

namespace magicmix {

/// Rows that the text encoder sees: BOS, at most 75 tokens, EOS, padding.
constexpr int kContextLength = 77;
constexpr int kMaxPromptTokens = kContextLength - 2;

/// CLIP's begin and end of text. No other token of its vocabulary has a larger id than EOS.
constexpr std::int32_t kBeginOfText = 49406, kEndOfText = 49407;
constexpr std::int32_t kClipTokens = kEndOfText + 1;

} // namespace magicmix
