#include "lora/low_rank.h"

#include "base/error.h"
#include "base/numbers.h"
#include "base/text.h"
#include "tensor/conversion.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>

namespace magicmix {
namespace {

// Of a row of the result: it stays in the first-level cache while the ranks pass by.
constexpr std::size_t kColumns = 1024;
// Rows of the result that share one reading of `down`.
constexpr std::size_t kRows = 4;

std::int64_t lengthOf(const StoredTensor &tensor, std::size_t axis) {
    return axis < tensor.shape.size() ? tensor.shape[axis] : 1;
}

/// Of a kernel; 1 for a matrix.
std::int64_t areaOf(const StoredTensor &tensor) {
    return static_cast<std::int64_t>(
        elementCount({lengthOf(tensor, 2), lengthOf(tensor, 3)}, "tensor '" + tensor.name + "'"));
}

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

float alphaOf(const LoraModule &module) {
    if (!module.alpha) {
        return static_cast<float>(module.declaredAlpha.value_or(lengthOf(module.up, 1)));
    }
    if (elementCount(module.alpha->shape, module.alpha->name) == 1) {
        if (const auto whole = integerOf(*module.alpha)) return static_cast<float>(*whole);
        return floatsOf(*module.alpha).front();
    }
    throw Error("MODEL_FORMAT",
                "'" + module.alpha->name + "' of '" + module.alpha->file->path() +
                    "' must be one number, not of shape " + shapeText(module.alpha->shape),
                {{"tensor", module.alpha->name}});
}

/// result[rows, columns] += factor a[rows, ranks] b[ranks, columns]
void addProduct(const float *a, const float *b, std::size_t rows, std::size_t ranks,
                std::size_t columns, float factor, float *result) {
    for (std::size_t first = 0; first < columns; first += kColumns) {
        const std::size_t n = std::min(kColumns, columns - first);
        for (std::size_t row = 0; row < rows; row += kRows) {
            const std::size_t some = std::min(kRows, rows - row);
            for (std::size_t k = 0; k < ranks; k++) {
                const float *from = b + k * columns + first;
                for (std::size_t r = row; r < row + some; r++) {
                    const float weight = factor * a[r * ranks + k];
                    float *to = result + r * columns + first;
                    for (std::size_t i = 0; i < n; i++) to[i] += weight * from[i];
                }
            }
        }
    }
}

/// `down` and `mid` as one: `[rank, in, height, width]` (the CP decomposition of LoCon).
std::vector<float> joined(const LoraModule &module, const std::vector<float> &down) {
    const std::vector<float> mid = floatsOf(*module.mid);
    const auto outer = static_cast<std::size_t>(module.mid->shape[0]);
    const auto inner = static_cast<std::size_t>(module.mid->shape[1]);
    const auto area = static_cast<std::size_t>(areaOf(*module.mid));
    const auto in = static_cast<std::size_t>(lengthOf(module.down, 1));
    std::vector<float> result(outer * in * area, 0.0f);
    for (std::size_t r = 0; r < outer; r++) {
        for (std::size_t s = 0; s < inner; s++) {
            for (std::size_t i = 0; i < in; i++) {
                const float weight = down[s * in + i];
                for (std::size_t at = 0; at < area; at++) {
                    result[(r * in + i) * area + at] += weight * mid[(r * inner + s) * area + at];
                }
            }
        }
    }
    return result;
}

} // namespace

void checkFit(const LoraModule &module, const std::vector<std::int64_t> &shape,
              const std::string &path) {
    std::vector<std::int64_t> weight = shape;
    weight.resize(4, 1);
    const StoredTensor &down = module.down, &up = module.up;
    const std::int64_t rank = lengthOf(up, 1), inner = lengthOf(down, 0);
    const std::int64_t area = weight[2] * weight[3];
    const bool joins = module.mid ? lengthOf(*module.mid, 0) == rank &&
                                        lengthOf(*module.mid, 1) == inner &&
                                        areaOf(*module.mid) == area && areaOf(down) == 1
                                  : inner == rank && areaOf(down) == area;
    const bool fits = joins && rank > 0 && lengthOf(up, 0) == weight[0] && areaOf(up) == 1 &&
                      lengthOf(down, 1) == weight[1];
    if (fits && up.shape.size() <= 4 && down.shape.size() <= 4) return;
    throw Error("MODEL_UNSUPPORTED",
                "the LoRA '" + path + "' is for another network: '" + up.name + "' " +
                    shapeText(up.shape) + " and '" + down.name + "' " + shapeText(down.shape) +
                    " do not fit a weight of shape " + shapeText(shape),
                {{"path", path}, {"tensor", up.name}});
}

void addLowRank(const LoraModule &module, float strength, std::vector<float> &weights) {
    const auto rank = static_cast<std::size_t>(lengthOf(module.up, 1));
    const auto out = static_cast<std::size_t>(lengthOf(module.up, 0));
    const float alpha = alphaOf(module);
    const std::vector<float> up = floatsOf(module.up);
    std::vector<float> down = floatsOf(module.down);
    if (module.mid) down = joined(module, down);
    addProduct(up.data(), down.data(), out, rank, down.size() / rank,
               strength * alpha / static_cast<float>(rank), weights.data());
}

} // namespace magicmix
