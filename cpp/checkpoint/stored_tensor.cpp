#include "checkpoint/stored_tensor.h"

#include "base/error.h"
#include "base/text.h"
#include "tensor/conversion.h"

#include <algorithm>
#include <cctype>
#include <cstring>
#include <limits>
#include <optional>

namespace magicmix {
namespace {

/// "Q4_K" and so on: the names that ggml itself prints, in capitals.
std::optional<ggml_type> ggmlTypeNamed(const std::string &name) {
    for (int number = 0; number < GGML_TYPE_COUNT; number++) {
        const auto type = static_cast<ggml_type>(number);
        const bool readable = type == GGML_TYPE_F32 || ggml_get_type_traits(type)->to_float;
        if (readable && ggmlTypeName(type) == name) return type;
    }
    return std::nullopt;
}

/// A type that ggml does not have, and what becomes of its values.
struct ForeignType {
    const char *name;
    std::size_t bytes;
    ggml_type becomes;
    void (*convert)(const std::byte *value, std::byte *out);
};

template <typename T>
void put(T value, std::byte *out) {
    std::memcpy(out, &value, sizeof value);
}

void doubleToFloat(const std::byte *value, std::byte *out) {
    double number = 0;
    std::memcpy(&number, value, sizeof number);
    put(static_cast<float>(number), out);
}

/// Sign, 4 bits of exponent (bias 7), 3 of mantissa; no infinity, and NaN where all bits are set.
void e4m3ToHalf(const std::byte *value, std::byte *out) {
    const auto bits = std::to_integer<unsigned>(*value);
    const unsigned sign = (bits & 0x80u) << 8, magnitude = bits & 0x7fu;
    if (magnitude == 0x7f) return put(static_cast<std::uint16_t>(sign | 0x7e00u), out);
    if (magnitude >= 8) {
        // a half has a bias of 15 and 10 bits of mantissa
        return put(static_cast<std::uint16_t>(sign | ((magnitude << 7) + (8u << 10))), out);
    }
    const ggml_fp16_t half = ggml_fp32_to_fp16(static_cast<float>(magnitude) / 512.0f);
    put(static_cast<std::uint16_t>(sign | half), out);
}

/// The upper byte of a half.
void e5m2ToHalf(const std::byte *value, std::byte *out) {
    put(static_cast<std::uint16_t>(std::to_integer<unsigned>(*value) << 8), out);
}

constexpr ForeignType kForeignTypes[] = {
    {"F64", sizeof(double), GGML_TYPE_F32, doubleToFloat},
    {"F8_E4M3", 1, GGML_TYPE_F16, e4m3ToHalf},
    {"F8_E5M2", 1, GGML_TYPE_F16, e5m2ToHalf},
};

const ForeignType *foreignTypeNamed(const std::string &name) {
    for (const ForeignType &type : kForeignTypes) {
        if (name == type.name) return &type;
    }
    return nullptr;
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

/// The elements of a strided tensor, of `size` bytes each, one after the other.
std::vector<std::byte> gathered(const StoredTensor &tensor, const std::vector<std::byte> &stored,
                                std::size_t size) {
    std::vector<std::byte> elements;
    eachElement(tensor, [&](std::int64_t at) {
        const std::byte *element = stored.data() + static_cast<std::size_t>(at) * size;
        elements.insert(elements.end(), element, element + size);
    });
    return elements;
}

std::vector<std::byte> converted(const std::vector<std::byte> &values, const ForeignType &type) {
    const std::size_t count = values.size() / type.bytes, size = ggml_type_size(type.becomes);
    std::vector<std::byte> result(count * size);
    for (std::size_t i = 0; i < count; i++) {
        type.convert(values.data() + i * type.bytes, result.data() + i * size);
    }
    return result;
}

std::vector<std::byte> dequantised(const std::vector<std::byte> &blocks, ggml_type type,
                                   std::uint64_t count) {
    std::vector<std::byte> floats(count * sizeof(float));
    toFloats(type, blocks.data(), 0, count, reinterpret_cast<float *>(floats.data()));
    return floats;
}

} // namespace

bool hasPrefix(const StoredTensors &tensors, const std::string &prefix) {
    const auto found = tensors.lower_bound(prefix);
    return found != tensors.end() && startsWith(found->first, prefix);
}

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

std::string ggmlTypeName(ggml_type type) {
    if (ggml_blck_size(type) == 0 || ggml_type_size(type) == 0) return ""; // a number out of use
    std::string name = ggml_type_name(type);
    std::transform(name.begin(), name.end(), name.begin(),
                   [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
    return name;
}

WeightSource::Description describe(const StoredTensor &tensor) {
    const ForeignType *foreign = foreignTypeNamed(tensor.type);
    const auto type = foreign ? std::optional(foreign->becomes) : ggmlTypeNamed(tensor.type);
    const bool scattered = !tensor.strides.empty();
    if (type && scattered && isQuantised(*type)) return {GGML_TYPE_F32, tensor.shape};
    if (type) return {*type, tensor.shape};
    throw Error("MODEL_UNSUPPORTED",
                "tensor '" + tensor.name + "' in '" + tensor.file->path() + "' has type " +
                    tensor.type +
                    "; weights must be F32, F16, BF16, F64, 8-bit floats or quantised as ggml does "
                    "it",
                {{"tensor", tensor.name}, {"type", tensor.type}});
}

WeightSource::Values valuesOf(const StoredTensor &tensor) {
    const WeightSource::Description description = describe(tensor);
    const ForeignType *foreign = foreignTypeNamed(tensor.type);
    auto bytes = tensor.file->read(tensor.offset, static_cast<std::size_t>(tensor.bytes));
    if (!tensor.strides.empty()) {
        const auto type = ggmlTypeNamed(tensor.type);
        if (type && isQuantised(*type)) {
            bytes = dequantised(bytes, *type, elementCount(tensor.shape, tensor.name));
        }
        bytes =
            gathered(tensor, bytes, foreign ? foreign->bytes : ggml_type_size(description.type));
    }
    if (foreign) bytes = converted(bytes, *foreign);
    return WeightSource::Values::owning(description, std::move(bytes));
}

StoredTensor transposed(const StoredTensor &tensor) {
    if (tensor.shape.size() != 2) {
        throw Error("MODEL_FORMAT",
                    "tensor '" + tensor.name + "' in '" + tensor.file->path() +
                        "' must be a matrix",
                    {{"tensor", tensor.name}, {"path", tensor.file->path()}});
    }
    StoredTensor turned = tensor;
    if (turned.strides.empty()) turned.strides = {tensor.shape[1], 1};
    std::swap(turned.shape[0], turned.shape[1]);
    std::swap(turned.strides[0], turned.strides[1]);
    return turned;
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
