#pragma once

#include "embeddings/embedding.h"
#include "model/model_config.h"

#include <vector>

namespace magicmix {

/// The placeholders of the tokens that a model's own tokenizer has beside CLIP's. `rows` is the
/// length of the model's token table. A token "<cat>" that "<cat>_1", "<cat>_2", ... follow stands
/// for all of them, as diffusers saves a concept of several vectors. Throws `MODEL_FORMAT` for an
/// id behind the table, `MODEL_UNSUPPORTED` for rows that no token names.
std::vector<Embedding> addedPlaceholders(const std::vector<AddedToken> &tokens, int rows);

} // namespace magicmix
