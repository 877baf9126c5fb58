#include "lora/lora_change.h"

#include "base/error.h"
#include "base/text.h"
#include "lora/factors.h"
#include "lora/lengths.h"
#include "lora/values.h"
#include "tensor/conversion.h"

#include <algorithm>

namespace magicmix {
namespace {

using Method = LoraChange::Method;

// Rows of the result that are computed together: they share one reading of `down`.
constexpr std::size_t kRows = 4;

/// The shapes of the two factors of a Kronecker product; nothing if they cannot be.
struct KroneckerShapes {
    KernelShape left, right;
};

KroneckerShapes kroneckerShapes(const LoraChange &change, const KernelShape &shape) {
    const Factors &left = change.matrices[0];
    const std::int64_t out = lengthOf(left.whole ? *left.whole : *left.up, 0);
    const std::int64_t in = lengthOf(left.whole ? *left.whole : *left.down, 1);
    const bool divides = out > 0 && in > 0 && shape.out % out == 0 && shape.in % in == 0;
    if (!divides) return {{0, 0, 0, 0}, {0, 0, 0, 0}};
    return {{out, in, 1, 1}, {shape.out / out, shape.in / in, shape.height, shape.width}};
}

bool fits(const LoraChange &change, const KernelShape &shape) {
    if (change.lengths && !lengthsFit(change, shape)) return false;
    if (change.method != Method::Kronecker) {
        return std::all_of(change.matrices.begin(), change.matrices.end(),
                           [&](const Factors &each) { return fits(each, shape); });
    }
    const KroneckerShapes shapes = kroneckerShapes(change, shape);
    return shapes.left.out > 0 && fits(change.matrices[0], shapes.left) &&
           fits(change.matrices[1], shapes.right);
}

/// to[i] += factor from[i]
void addScaled(const float *from, std::size_t count, float factor, float *to) {
    for (std::size_t i = 0; i < count; i++) to[i] += factor * from[i];
}

void addSum(const LoraChange &change, const KernelShape &shape, float factor, float *to) {
    const std::size_t columns = shape.columns();
    RowsOf rowsOf(change.matrices[0], shape);
    std::vector<float> rows(kRows * columns);
    for (std::size_t row = 0; row < shape.rows(); row += kRows) {
        const std::size_t some = std::min(kRows, shape.rows() - row);
        rowsOf.write(row, some, rows.data());
        addScaled(rows.data(), some * columns, factor, to + row * columns);
    }
}

void addHadamard(const LoraChange &change, const KernelShape &shape, float factor, float *to) {
    const std::size_t columns = shape.columns();
    RowsOf firstOf(change.matrices[0], shape), secondOf(change.matrices[1], shape);
    std::vector<float> first(kRows * columns), second(kRows * columns);
    for (std::size_t row = 0; row < shape.rows(); row += kRows) {
        const std::size_t some = std::min(kRows, shape.rows() - row);
        firstOf.write(row, some, first.data());
        secondOf.write(row, some, second.data());
        float *target = to + row * columns;
        for (std::size_t i = 0; i < some * columns; i++) target[i] += factor * first[i] * second[i];
    }
}

/// Row (r, s) of the product is row r of the left factor times row s of the right one.
void addKronecker(const LoraChange &change, const KernelShape &shape, float factor, float *to) {
    const auto [leftShape, rightShape] = kroneckerShapes(change, shape);
    const std::size_t leftRows = leftShape.rows(), leftColumns = leftShape.columns();
    const std::size_t rightRows = rightShape.rows(), rightColumns = rightShape.columns();
    std::vector<float> left(leftRows * leftColumns), right(rightColumns);
    RowsOf(change.matrices[0], leftShape).write(0, leftRows, left.data());
    RowsOf rightOf(change.matrices[1], rightShape);
    for (std::size_t s = 0; s < rightRows; s++) {
        rightOf.write(s, 1, right.data());
        for (std::size_t r = 0; r < leftRows; r++) {
            float *row = to + (r * rightRows + s) * shape.columns();
            for (std::size_t c = 0; c < leftColumns; c++) {
                addScaled(right.data(), rightColumns, factor * left[r * leftColumns + c],
                          row + c * rightColumns);
            }
        }
    }
}

void addMatrices(const LoraChange &change, const KernelShape &shape, float factor,
                 std::vector<float> &to) {
    switch (change.method) {
    case Method::Sum: return addSum(change, shape, factor, to.data());
    case Method::Hadamard: return addHadamard(change, shape, factor, to.data());
    case Method::Kronecker: return addKronecker(change, shape, factor, to.data());
    }
}

} // namespace

std::vector<TensorPointer> LoraChange::tensors() const {
    std::vector<TensorPointer> all;
    for (const auto &each : matrices) {
        for (const auto &tensor : {each.whole, each.up, each.mid, each.down}) {
            if (tensor) all.push_back(tensor);
        }
    }
    if (lengths) all.push_back(lengths);
    return all;
}

void checkFit(const LoraChange &change, const std::vector<std::int64_t> &shape,
              const std::string &path, const std::string &note) {
    if (shape.size() <= 4 && fits(change, KernelShape(shape))) return;
    std::string tensors;
    const auto all = change.tensors();
    for (const auto &tensor : all) {
        if (!tensors.empty()) tensors += tensor == all.back() ? " and " : ", ";
        tensors += "'" + tensor->name + "' " + shapeText(tensor->shape);
    }
    throw Error("MODEL_UNSUPPORTED",
                "the LoRA '" + path + "' is for another network" + note + ": " + tensors +
                    (all.size() == 1 ? " does" : " do") + " not fit a weight of shape " +
                    shapeText(shape),
                {{"path", path}, {"tensor", all.front()->name}});
}

void addChange(const LoraChange &change, float strength, const WeightSource::Values &base,
               std::vector<float> &sum) {
    const KernelShape shape(base.shape);
    const auto scale = static_cast<float>(change.scale);
    if (!change.lengths) return addMatrices(change, shape, strength * scale, sum);

    std::vector<float> adapted(sum.size());
    toFloats(base.type, base.data.get(), 0, adapted.size(), adapted.data());
    addMatrices(change, shape, scale, adapted);
    bringToLengths(change, shape, adapted);
    addScaled(adapted.data(), adapted.size(), strength, sum.data());
    // The base itself is not held a second time.
    toFloats(base.type, base.data.get(), 0, adapted.size(), adapted.data());
    addScaled(adapted.data(), adapted.size(), -strength, sum.data());
}

} // namespace magicmix
