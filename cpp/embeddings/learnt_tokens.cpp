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

/// A token table that grows.
struct Table {
    Table(const WeightSource &model, const std::string &name) {
        const WeightSource::Values known = model.read(name);
        const std::uint64_t count = elementCount(known.shape, "'" + name + "'");
        if (known.shape.size() != 2 || count == 0) {
            throw Error("MODEL_FORMAT", "tensor '" + name + "' must have two dimensions",
                        {{"tensor", name}});
        }
        width = static_cast<std::uint64_t>(known.shape[1]);
        values.resize(count);
        toFloats(known.type, known.data.get(), 0, count, values.data());
        model.release(name);
    }

    std::uint64_t rows() const { return values.size() / width; }
    void append(const std::vector<float> &vectors) {
        values.insert(values.end(), vectors.begin(), vectors.end());
    }

    std::uint64_t width = 0;
    std::vector<float> values;
};

} // namespace

LearntTokens::LearntTokens(const WeightSource &base, const std::vector<EmbeddingFile> &files,
                           const Cancellation &cancel)
    : base_(base) {
    if (files.empty()) return;
    const std::vector<std::string> names = tokenTables(base);
    std::vector<Table> tables;
    for (const auto &name : names) tables.emplace_back(base, name);
    for (const auto &file : files) {
        const ModelFile model = readModelFile(file.path, cancel);
        bundledEmbeddings(model.tensors, file.path); // refuses what is none
        std::vector<std::int32_t> ids;
        for (std::size_t i = 0; i < tables.size(); i++) {
            const StoredTensor &tensor = vectorsOf(file, model.tensors, i, tables.size());
            const std::vector<float> vectors = readVectors(file, tensor, tables[i].width);
            const std::size_t count = vectors.size() / tables[i].width;
            if (i > 0 && count != ids.size()) {
                unsupported(file,
                            "has " + std::to_string(ids.size()) +
                                " vectors for the first text encoder, and " +
                                std::to_string(count) + " for the second",
                            tensor.name);
            }
            ids.resize(count);
            std::iota(ids.begin(), ids.end(), static_cast<std::int32_t>(tables[i].rows()));
            tables[i].append(vectors);
        }
        placeholders_.push_back({file.placeholder, std::move(ids)});
    }
    for (std::size_t i = 0; i < tables.size(); i++) {
        Table &table = tables[i];
        const std::vector<std::int64_t> shape{static_cast<std::int64_t>(table.rows()),
                                              static_cast<std::int64_t>(table.width)};
        tables_[names[i]] = Values::owning(shape, std::move(table.values));
    }
}

int LearntTokens::count() const {
    int count = 0;
    for (const auto &placeholder : placeholders_) count += static_cast<int>(placeholder.ids.size());
    return count;
}

WeightSource::Description LearntTokens::describe(const std::string &name) const {
    const auto table = tables_.find(name);
    return table != tables_.end() ? table->second : base_.describe(name);
}

WeightSource::Values LearntTokens::read(const std::string &name) const {
    const auto table = tables_.find(name);
    return table != tables_.end() ? table->second : base_.read(name);
}

void LearntTokens::release(const std::string &name) const {
    const auto table = tables_.find(name);
    if (table != tables_.end()) table->second = {};
    base_.release(name);
}

} // namespace magicmix
