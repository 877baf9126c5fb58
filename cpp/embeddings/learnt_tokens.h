#pragma once

#include "base/cancellation.h"
#include "embeddings/embedding.h"
#include "tensor/weights.h"

#include <map>
#include <string>

namespace magicmix {

/// The names of the token tables of the text encoders that a model has: one, or two of XL.
std::vector<std::string> tokenTables(const WeightSource &model);

/// A checkpoint whose text encoders know more tokens: the vectors of textual inversion (Gal et al.
/// 2022) are further rows of their token tables, so the networks need not know of them.
class LearntTokens final : public WeightSource {
public:
    /// Reads all files. `base` has the tables, and lives as long as this. Throws `MODEL_NOT_FOUND`,
    /// `MODEL_FORMAT`, and `MODEL_UNSUPPORTED` for what is no embedding, or one for another text
    /// encoder.
    LearntTokens(const WeightSource &base, const std::vector<EmbeddingFile> &files,
                 const Cancellation &cancel);

    /// In the order of the files.
    const std::vector<Embedding> &placeholders() const { return placeholders_; }
    /// The number of rows of all of them.
    int count() const;

    bool hasAny(const std::string &prefix) const override { return base_.hasAny(prefix); }
    Description describe(const std::string &name) const override;
    Values read(const std::string &name) const override;

private:
    const WeightSource &base_;
    std::vector<Embedding> placeholders_;
    std::map<std::string, std::vector<float>> rows_; ///< the further ones, by table
};

} // namespace magicmix
