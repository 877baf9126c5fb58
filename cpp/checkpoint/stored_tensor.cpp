#include "checkpoint/stored_tensor.h"

#include "base/error.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <optional>

namespace magicmix {
namespace {

std::optional<ggml_type> ggmlTypeNamed(const std::string &name) {
    static const std::map<std::string, ggml_type> types = {
        {"F32", GGML_TYPE_F32},   {"F16", GGML_TYPE_F16},   {"BF16", GGML_TYPE_BF16},
        {"Q4_0", GGML_TYPE_Q4_0}, {"Q4_1", GGML_TYPE_Q4_1}, {"Q5_0", GGML_TYPE_Q5_0},
        {"Q5_1", GGML_TYPE_Q5_1}, {"Q8_0", GGML_TYPE_Q8_0}, {"Q2_K", GGML_TYPE_Q2_K},
        {"Q3_K", GGML_TYPE_Q3_K}, {"Q4_K", GGML_TYPE_Q4_K}, {"Q5_K", GGML_TYPE_Q5_K},
        {"Q6_K", GGML_TYPE_Q6_K},
    };
    const auto found = types.find(name);
    return found == types.end() ? std::nullopt : std::optional(found->second);
}

/// Visits the elements of a strided tensor in the order of its indices.
template <typename Visit>
void eachElement(const StoredTensor &tensor, Visit visit) {
    const std::size_t dimensions = tensor.shape.size();
    std::vector<std::int64_t> index(dimensions, 0);
    std::int64_t at = 0;
    for (const auto size : tensor.shape) {
        if (size == 0) return;
    }
    while (true) {
        visit(at);
        std::size_t d = dimensions;
        while (d > 0) {
            d--;
            at += tensor.strides[d];
            if (++index[d] < tensor.shape[d]) break;
            at -= tensor.strides[d] * tensor.shape[d];
            index[d] = 0;
            if (d == 0) return;
        }
        if (dimensions == 0) return;
    }
}

/// The elements, of `size` bytes each, one after the other.
std::vector<std::byte> gathered(const StoredTensor &tensor, std::size_t size) {
    const std::byte *from = tensor.file->data() + tensor.offset;
    if (tensor.strides.empty()) return {from, from + tensor.bytes};
    std::vector<std::byte> elements;
    eachElement(tensor, [&](std::int64_t at) {
        const std::byte *element = from + static_cast<std::size_t>(at) * size;
        elements.insert(elements.end(), element, element + size);
    });
    return elements;
}

std::vector<std::byte> doublesToFloats(const std::vector<std::byte> &doubles) {
    std::vector<std::byte> floats(doubles.size() / 2);
    for (std::size_t i = 0; i < doubles.size() / sizeof(double); i++) {
        double value = 0;
        std::memcpy(&value, doubles.data() + i * sizeof(double), sizeof(double));
        const auto single = static_cast<float>(value);
        std::memcpy(floats.data() + i * sizeof(float), &single, sizeof(float));
    }
    return floats;
}

} // namespace

void refuseOverlaps(const StoredTensors &tensors) {
    std::vector<const StoredTensor *> byOffset;
    for (const auto &[name, tensor] : tensors) {
        if (tensor.bytes > 0) byOffset.push_back(&tensor);
    }
    std::sort(byOffset.begin(), byOffset.end(),
              [](const auto *a, const auto *b) { return a->offset < b->offset; });
    for (std::size_t i = 1; i < byOffset.size(); i++) {
        const StoredTensor &before = *byOffset[i - 1], &after = *byOffset[i];
        if (before.offset + before.bytes > after.offset) {
            throw Error("MODEL_FORMAT",
                        "tensors '" + before.name + "' and '" + after.name + "' in '" +
                            after.file->path() + "' overlap; each must have bytes of its own",
                        {{"tensor", after.name}, {"path", after.file->path()}});
        }
    }
}

std::uint64_t elementCount(const std::vector<std::int64_t> &shape, const std::string &what) {
    std::uint64_t count = 1;
    for (const std::int64_t length : shape) {
        const auto n = static_cast<std::uint64_t>(length);
        if (length < 0 || (n != 0 && count > std::numeric_limits<std::uint64_t>::max() / n)) {
            throw Error("MODEL_FORMAT",
                        what + " has a shape whose product overflows, or is negative");
        }
        count *= n;
    }
    return count;
}

WeightSource::Values valuesOf(const StoredTensor &tensor) {
    WeightSource::Values values;
    values.shape = tensor.shape;
    const bool doubles = tensor.type == "F64";
    const auto type = doubles ? GGML_TYPE_F32 : ggmlTypeNamed(tensor.type);
    if (!type) {
        throw Error("MODEL_UNSUPPORTED",
                    "tensor '" + tensor.name + "' in '" + tensor.file->path() + "' has type " +
                        tensor.type +
                        "; weights must be F32, F16, BF16, F64 or quantised as ggml does it",
                    {{"tensor", tensor.name}, {"type", tensor.type}});
    }
    values.type = *type;
    if (!doubles && tensor.strides.empty()) {
        values.data = tensor.file->data() + tensor.offset;
        values.bytes = tensor.bytes;
        return values;
    }
    std::vector<std::byte> copy = gathered(tensor, doubles ? 8 : ggml_type_size(*type));
    if (doubles) copy = doublesToFloats(copy);
    const auto owner = std::make_shared<const std::vector<std::byte>>(std::move(copy));
    values.data = owner->data();
    values.bytes = owner->size();
    values.owner = owner;
    return values;
}

StoredTensor partOfRows(const StoredTensor &tensor, int index, int parts) {
    const auto refuse = [&](const char *code, const std::string &problem) {
        throw Error(code,
                    "tensor '" + tensor.name + "' in '" + tensor.file->path() + "' " + problem,
                    {{"tensor", tensor.name}, {"path", tensor.file->path()}});
    };
    if (!tensor.strides.empty()) {
        refuse("MODEL_UNSUPPORTED", "is fused of several, and its values do not lie one after the "
                                    "other; save it contiguous");
    }
    // Blocks of a quantised type lie along rows: a part has to have whole ones.
    const auto type = ggmlTypeNamed(tensor.type);
    const std::uint64_t unit =
        static_cast<std::uint64_t>(parts) * (type ? ggml_type_size(*type) : 1);
    if (tensor.shape.empty() || tensor.shape[0] % parts != 0 || tensor.bytes % unit != 0) {
        refuse("MODEL_FORMAT",
               "is fused of " + std::to_string(parts) + ", but cannot be divided by that number");
    }
    StoredTensor part = tensor;
    part.shape[0] /= parts;
    part.bytes /= static_cast<std::uint64_t>(parts);
    part.offset += part.bytes * static_cast<std::uint64_t>(index);
    return part;
}

} // namespace magicmix
