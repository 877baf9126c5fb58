#pragma once

#include "checkpoint/json.h"
#include "checkpoint/model_folder.h"
#include "model/model_config.h"

namespace magicmix {

/// What the tokenizer/ of a folder, or another part of that kind, says beside CLIP's vocabulary:
/// learnt tokens, and what fills a prompt up; in added_tokens.json, tokenizer_config.json,
/// special_tokens_map.json, or tokenizer.json, which transformers 5 writes instead of all others. A
/// vocabulary other than CLIP's is refused. Throws `MODEL_FORMAT` or `MODEL_UNSUPPORTED`.
ModelConfig::Tokenizer readTokenizer(const ModelFolder &model, const std::string &part);

/// The two tokenizers of a folder have learnt the same tokens. Throws `MODEL_UNSUPPORTED`; `path`
/// is the folder's.
void requireSameTokens(const ModelConfig::Tokenizer &first, const ModelConfig::Tokenizer &second,
                       const std::string &path);

/// The same as our own files keep it: `pad_token_id`, and `added_tokens` as in tokenizer.json.
Json tokenizerAsJson(const ModelConfig::Tokenizer &tokenizer);
ModelConfig::Tokenizer tokenizerFromJson(const Json &json, const std::string &where);

} // namespace magicmix
