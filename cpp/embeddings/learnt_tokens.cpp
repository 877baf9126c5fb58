#include "embeddings/learnt_tokens.h"

#include "base/numbers.h"
#include "base/tokens.h"
#include "checkpoint/bundled_embeddings.h"
#include "checkpoint/model_file.h"
#include "model/names.h"
#include "tensor/conversion.h"

#include <numeric>

namespace magicmix {
namespace {

// More tokens than a prompt can have are of no use.
constexpr std::uint64_t kMaxVectors = kMaxPromptTokens;

[[noreturn]] void unsupported(const EmbeddingFile &file, const std::string &why,
                              const std::string &tensor = "") {
    throw Error("MODEL_UNSUPPORTED", "'" + file.path + "' " + why,
                {{"path", file.path}, {"placeholder", file.placeholder}, {"tensor", tensor}});
}

/// The tensor with the vectors: diffusers calls it as the placeholder was called in training, the
/// AUTOMATIC1111 web UI `emb_params`, or in its pickles `string_to_param` with a `*`. A LoRA can
/// bring several along. A placeholder may be called otherwise than in training, unless the file has
/// several. For the two text encoders of XL a file has `clip_l` and `clip_g`.
const StoredTensor &vectorsOf(const EmbeddingFile &file, const StoredTensors &tensors,
                              std::size_t encoder, std::size_t encoders) {
    constexpr const char *ofXl[] = {"clip_l", "clip_g"};
    if (encoders > 1) {
        const auto found = tensors.find(ofXl[encoder]);
        if (found != tensors.end()) return found->second;
        const StoredTensor *bundled = bundledVectors(tensors, file.placeholder, encoder > 0);
        if (bundled) return *bundled;
        unsupported(file, std::string("has no tensor '") + ofXl[encoder] +
                              "'; an embedding for Stable Diffusion XL has vectors for both text "
                              "encoders, clip_l and clip_g");
    }
    for (const char *other : ofXl) {
        if (tensors.count(other) > 0) {
            unsupported(file, "is an embedding for Stable Diffusion XL", other);
        }
    }
    if (const StoredTensor *second = bundledVectors(tensors, file.placeholder, true)) {
        unsupported(file,
                    "has the tensor '" + second->name +
                        "': it brings an embedding for Stable Diffusion XL along",
                    second->name);
    }
    for (const std::string &name :
         {file.placeholder, std::string("emb_params"), std::string("string_to_param.*")}) {
        const auto found = tensors.find(name);
        if (found != tensors.end()) return found->second;
    }
    if (const StoredTensor *bundled = bundledVectors(tensors, file.placeholder, false)) {
        return *bundled;
    }
    if (tensors.size() == 1) return tensors.begin()->second;
    std::string some;
    std::size_t listed = 0;
    for (const auto &[name, tensor] : tensors) {
        if (listed++ == 4) break;
        some += (some.empty() ? "'" : ", '") + name.substr(0, 80) + "'";
    }
    unsupported(file, "has " + std::to_string(tensors.size()) + " tensors" +
                          (some.empty() ? "" : " (" + some + ")") +
                          ", and none of them is called '" + file.placeholder +
                          "' or emb_params, as embeddings are");
}

/// The vectors of a file, one after the other.
std::vector<float> readVectors(const EmbeddingFile &file, const StoredTensor &tensor,
                               std::uint64_t width) {
    const auto &shape = tensor.shape;
    const std::uint64_t count = elementCount(shape, "'" + tensor.name + "'");
    if (shape.empty() || shape.size() > 2 || count == 0) {
        unsupported(file,
                    "has no vectors: tensor '" + tensor.name +
                        "' must have the shape [width] or [vectors, width]",
                    tensor.name);
    }
    if (static_cast<std::uint64_t>(shape.back()) != width) {
        unsupported(file,
                    "has vectors of width " + std::to_string(shape.back()) + " (tensor '" +
                        tensor.name + "'), but the text encoder of the model has width " +
                        std::to_string(width) + "; it was made for another family of models",
                    tensor.name);
    }
    if (count / width > kMaxVectors) {
        unsupported(file,
                    "has " + std::to_string(count / width) + " vectors, but only " +
                        std::to_string(kMaxVectors) + " tokens fit into a prompt",
                    tensor.name);
    }
    const WeightSource::Values values = valuesOf(tensor);
    std::vector<float> vectors(count);
    toFloats(values.type, values.data.get(), 0, count, vectors.data());
    if (!allFinite(vectors)) {
        throw Error("MODEL_FORMAT",
                    "'" + file.path + "' has values that are not finite numbers (tensor '" +
                        tensor.name + "')",
                    {{"path", file.path}, {"tensor", tensor.name}});
    }
    return vectors;
}

} // namespace

std::vector<std::string> tokenTables(const WeightSource &model) {
    std::vector<std::string> tables;
    for (const char *prefix : {kTransformersPrefix, kXlFirstPrefix, kXlSecondPrefix}) {
        if (!model.hasAny(prefix)) continue;
        tables.push_back(prefix + std::string("text_model.embeddings.token_embedding.weight"));
    }
    return tables;
}

namespace {

/// The width of a token table, `[rows, width]`.
std::uint64_t widthOf(const WeightSource::Description &table, const std::string &name) {
    if (table.shape.size() == 2 && elementCount(table.shape, "'" + name + "'") > 0) {
        return static_cast<std::uint64_t>(table.shape[1]);
    }
    throw Error("MODEL_FORMAT", "tensor '" + name + "' must have two dimensions",
                {{"tensor", name}});
}

} // namespace

LearntTokens::LearntTokens(const WeightSource &base, const std::vector<EmbeddingFile> &files,
                           const Cancellation &cancel)
    : base_(base) {
    if (files.empty()) return;
    const std::vector<std::string> tables = tokenTables(base);
    for (const auto &file : files) {
        const ModelFile model = readModelFile(file.path, cancel);
        bundledEmbeddings(model.tensors, file.path); // refuses what is none
        std::vector<std::int32_t> ids;
        for (std::size_t i = 0; i < tables.size(); i++) {
            const Description table = base.describe(tables[i]);
            const std::uint64_t width = widthOf(table, tables[i]);
            std::vector<float> &rows = rows_[tables[i]];
            const StoredTensor &tensor = vectorsOf(file, model.tensors, i, tables.size());
            const std::vector<float> vectors = readVectors(file, tensor, width);
            const std::size_t count = vectors.size() / width;
            if (i > 0 && count != ids.size()) {
                unsupported(file,
                            "has " + std::to_string(ids.size()) +
                                " vectors for the first text encoder, and " +
                                std::to_string(count) + " for the second",
                            tensor.name);
            }
            ids.resize(count);
            std::iota(ids.begin(), ids.end(),
                      static_cast<std::int32_t>(static_cast<std::uint64_t>(table.shape[0]) +
                                                rows.size() / width));
            rows.insert(rows.end(), vectors.begin(), vectors.end());
        }
        placeholders_.push_back({file.placeholder, std::move(ids)});
    }
}

int LearntTokens::count() const {
    int count = 0;
    for (const auto &placeholder : placeholders_) count += static_cast<int>(placeholder.ids.size());
    return count;
}

WeightSource::Description LearntTokens::describe(const std::string &name) const {
    Description description = base_.describe(name);
    const auto rows = rows_.find(name);
    if (rows == rows_.end()) return description;
    const auto width = static_cast<std::int64_t>(widthOf(description, name));
    description.shape[0] += static_cast<std::int64_t>(rows->second.size()) / width;
    description.type = GGML_TYPE_F32;
    return description;
}

WeightSource::Values LearntTokens::read(const std::string &name) const {
    const auto rows = rows_.find(name);
    if (rows == rows_.end()) return base_.read(name);
    const Values known = base_.read(name);
    const std::uint64_t count = elementCount(known.shape, "'" + name + "'");
    std::vector<float> all;
    all.reserve(count + rows->second.size());
    all.resize(count);
    toFloats(known.type, known.data.get(), 0, count, all.data());
    all.insert(all.end(), rows->second.begin(), rows->second.end());
    return Values::owning(describe(name).shape, std::move(all));
}

} // namespace magicmix
