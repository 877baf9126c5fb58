#include "embeddings/added_tokens.h"

#include "base/error.h"
#include "base/tokens.h"

#include <map>

namespace magicmix {

std::vector<Embedding> addedPlaceholders(const std::vector<AddedToken> &tokens, int rows) {
    std::map<std::string, const AddedToken *> byText;
    std::map<std::int32_t, const AddedToken *> byId;
    for (const AddedToken &token : tokens) {
        byText.emplace(token.text, &token);
        byId.emplace(token.id, &token);
    }
    if (!byId.empty() && byId.rbegin()->first >= rows) {
        const AddedToken &last = *byId.rbegin()->second;
        throw Error("MODEL_FORMAT", "the tokenizer gives '" + last.text + "' the id " +
                                        std::to_string(last.id) +
                                        ", but the text encoder's token table has only " +
                                        std::to_string(rows) + " rows");
    }
    for (std::int32_t id = kClipTokens; id < rows; id++) {
        if (byId.count(id) > 0) continue;
        throw Error("MODEL_UNSUPPORTED",
                    "the text encoder's token table has " + std::to_string(rows) +
                        " rows, of which no tokenizer names row " + std::to_string(id) +
                        "; CLIP has " + std::to_string(kClipTokens) +
                        ". Give the model as a folder with its tokenizer/");
    }

    std::vector<Embedding> placeholders;
    for (const auto &[id, token] : byId) {
        Embedding placeholder{token->text, {id}, token->anyCase, token->wholeWord};
        for (int n = 1; placeholder.ids.size() < static_cast<std::size_t>(kMaxPromptTokens); n++) {
            const auto next = byText.find(token->text + "_" + std::to_string(n));
            if (next == byText.end()) break;
            placeholder.ids.push_back(next->second->id);
        }
        placeholders.push_back(std::move(placeholder));
    }
    return placeholders;
}

} // namespace magicmix
