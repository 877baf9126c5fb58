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

std::string tokenTable() { return std::string(kTextPrefix) + "embeddings.token_embedding.weight"; }

[[noreturn]] void unsupported(const EmbeddingFile &file, const std::string &why,
                              const std::string &tensor = "") {
    throw Error("MODEL_UNSUPPORTED", "'" + file.path + "' " + why,
                {{"path", file.path}, {"placeholder", file.placeholder}, {"tensor", tensor}});
}

/// The tensor with the vectors: diffusers calls it as the placeholder was called in training, the
/// AUTOMATIC1111 web UI `emb_params`, or in its pickles `string_to_param` with a `*`. A LoRA can
/// bring several along. A placeholder may be called otherwise than in training, unless the file has
/// several.
const StoredTensor &vectorsOf(const EmbeddingFile &file, const StoredTensors &tensors) {
    for (const char *other : {"clip_l", "clip_g"}) {
        if (tensors.count(other) > 0) {
            unsupported(file, "is an embedding for Stable Diffusion XL", other);
        }
    }
    for (const std::string &name :
         {file.placeholder, std::string("emb_params"), std::string("string_to_param.*")}) {
        const auto found = tensors.find(name);
        if (found != tensors.end()) return found->second;
    }
    if (const StoredTensor *bundled = bundledVectors(tensors, file.placeholder)) return *bundled;
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
std::vector<float> readVectors(const EmbeddingFile &file, std::uint64_t width,
                               const Cancellation &cancel) {
    const ModelFile model = readModelFile(file.path, cancel);
    bundledEmbeddings(model.tensors, file.path); // refuses those of other families
    const StoredTensor &tensor = vectorsOf(file, model.tensors);
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

LearntTokens::LearntTokens(const WeightSource &base, const std::vector<EmbeddingFile> &files,
                           const Cancellation &cancel)
    : base_(base) {
    if (files.empty()) return;
    const Values known = base.read(tokenTable());
    const std::uint64_t count = elementCount(known.shape, "'" + tokenTable() + "'");
    if (known.shape.size() != 2 || count == 0) {
        throw Error("MODEL_FORMAT", "tensor '" + tokenTable() + "' must have two dimensions",
                    {{"tensor", tokenTable()}});
    }
    const auto width = static_cast<std::uint64_t>(known.shape[1]);
    std::vector<float> rows(count);
    toFloats(known.type, known.data.get(), 0, count, rows.data());
    base.release(tokenTable());
    for (const auto &file : files) {
        const std::vector<float> vectors = readVectors(file, width, cancel);
        std::vector<std::int32_t> ids(vectors.size() / width);
        std::iota(ids.begin(), ids.end(), static_cast<std::int32_t>(rows.size() / width));
        placeholders_.push_back({file.placeholder, std::move(ids)});
        rows.insert(rows.end(), vectors.begin(), vectors.end());
    }

    const auto length = static_cast<std::int64_t>(rows.size() / width);
    table_ = Values::owning({length, known.shape[1]}, std::move(rows));
}

int LearntTokens::count() const {
    int count = 0;
    for (const auto &placeholder : placeholders_) count += static_cast<int>(placeholder.ids.size());
    return count;
}

WeightSource::Description LearntTokens::describe(const std::string &name) const {
    return name == tokenTable() && table_ ? *table_ : base_.describe(name);
}

WeightSource::Values LearntTokens::read(const std::string &name) const {
    // The name first: other threads ask for other tensors while this one's is given up.
    return name == tokenTable() && table_ ? *table_ : base_.read(name);
}

void LearntTokens::release(const std::string &name) const {
    if (name == tokenTable()) table_.reset();
    base_.release(name);
}

} // namespace magicmix
