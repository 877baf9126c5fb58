#include "lora/values.h"

#include "base/error.h"
#include "base/numbers.h"
#include "base/text.h"
#include "tensor/conversion.h"

#include <cstring>
#include <optional>

namespace magicmix {
namespace {

/// Of a tensor of one whole number, as some converters write alpha; nothing if it is of another
/// type.
std::optional<std::int64_t> integerOf(const StoredTensor &tensor) {
    const auto read = [&](auto value) {
        const auto stored = tensor.file->read(tensor.offset, sizeof value);
        std::memcpy(&value, stored.data(), sizeof value);
        return std::optional<std::int64_t>(static_cast<std::int64_t>(value));
    };
    if (tensor.type == "I64") return read(std::int64_t{});
    if (tensor.type == "I32") return read(std::int32_t{});
    if (tensor.type == "I16") return read(std::int16_t{});
    if (tensor.type == "I8") return read(std::int8_t{});
    if (tensor.type == "U8") return read(std::uint8_t{});
    return std::nullopt;
}

} // namespace

std::vector<float> floatsOf(const StoredTensor &tensor) {
    const auto values = valuesOf(tensor);
    std::vector<float> floats(elementCount(tensor.shape, "tensor '" + tensor.name + "'"));
    toFloats(values.type, values.data.get(), 0, floats.size(), floats.data());
    if (allFinite(floats)) return floats;
    throw Error("MODEL_FORMAT",
                "tensor '" + tensor.name + "' of '" + tensor.file->path() +
                    "' has values that are not finite numbers",
                {{"tensor", tensor.name}});
}

double numberOf(const StoredTensor &tensor) {
    if (elementCount(tensor.shape, tensor.name) == 1) {
        if (const auto whole = integerOf(tensor)) return static_cast<double>(*whole);
        return static_cast<double>(floatsOf(tensor).front());
    }
    throw Error("MODEL_FORMAT",
                "'" + tensor.name + "' of '" + tensor.file->path() +
                    "' must be one number, not of shape " + shapeText(tensor.shape),
                {{"tensor", tensor.name}});
}

std::int64_t lengthOf(const StoredTensor &tensor, std::size_t axis) {
    return axis < tensor.shape.size() ? tensor.shape[axis] : 1;
}

} // namespace magicmix
