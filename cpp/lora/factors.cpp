#include "lora/factors.h"

#include "lora/values.h"

#include <algorithm>

namespace magicmix {
namespace {

// Of a row of the result: it stays in the first-level cache while the ranks pass by.
constexpr std::size_t kColumns = 1024;

/// result[rows, columns] += a[rows, ranks] b[ranks, columns]. A few rows share one reading of `b`.
void addProduct(const float *a, const float *b, std::size_t rows, std::size_t ranks,
                std::size_t columns, float *result) {
    for (std::size_t first = 0; first < columns; first += kColumns) {
        const std::size_t n = std::min(kColumns, columns - first);
        for (std::size_t k = 0; k < ranks; k++) {
            const float *from = b + k * columns + first;
            for (std::size_t row = 0; row < rows; row++) {
                const float weight = a[row * ranks + k];
                float *to = result + row * columns + first;
                for (std::size_t i = 0; i < n; i++) to[i] += weight * from[i];
            }
        }
    }
}

std::vector<float> transposed(const std::vector<float> &matrix, std::size_t rows) {
    const std::size_t columns = matrix.size() / rows;
    std::vector<float> result(matrix.size());
    for (std::size_t row = 0; row < rows; row++) {
        for (std::size_t column = 0; column < columns; column++) {
            result[column * rows + row] = matrix[row * columns + column];
        }
    }
    return result;
}

bool hasShape(const StoredTensor &tensor, const KernelShape &shape) {
    return tensor.shape.size() <= 4 && lengthOf(tensor, 0) == shape.out &&
           lengthOf(tensor, 1) == shape.in && lengthOf(tensor, 2) == shape.height &&
           lengthOf(tensor, 3) == shape.width;
}

} // namespace

KernelShape::KernelShape(const std::vector<std::int64_t> &shape) {
    std::int64_t *lengths[] = {&out, &in, &height, &width};
    for (std::size_t i = 0; i < std::min<std::size_t>(4, shape.size()); i++) {
        *lengths[i] = shape[i];
    }
}

bool fits(const Factors &factors, const KernelShape &shape) {
    if (factors.whole) return hasShape(*factors.whole, shape);
    const std::int64_t inner = lengthOf(*factors.down, 0);
    const std::int64_t rank = factors.mid ? lengthOf(*factors.mid, 0) : inner;
    if (rank <= 0 || inner <= 0) return false;
    const bool up = factors.upLiesDown ? hasShape(*factors.up, {rank, shape.out, 1, 1})
                                       : hasShape(*factors.up, {shape.out, rank, 1, 1});
    if (factors.mid) {
        return up && hasShape(*factors.mid, {rank, inner, shape.height, shape.width}) &&
               hasShape(*factors.down, {inner, shape.in, 1, 1});
    }
    return up && (hasShape(*factors.down, {rank, shape.in, shape.height, shape.width}) ||
                  hasShape(*factors.down, {rank, shape.in * shape.area(), 1, 1}));
}

RowsOf::RowsOf(const Factors &factors, const KernelShape &shape)
    : in_(static_cast<std::size_t>(shape.in)), area_(static_cast<std::size_t>(shape.area())),
      whole_(factors.whole != nullptr), hasMid_(factors.mid != nullptr) {
    if (whole_) {
        up_ = floatsOf(*factors.whole);
        return;
    }
    up_ = floatsOf(*factors.up);
    down_ = floatsOf(*factors.down);
    inner_ = static_cast<std::size_t>(lengthOf(*factors.down, 0));
    rank_ = hasMid_ ? static_cast<std::size_t>(lengthOf(*factors.mid, 0)) : inner_;
    if (factors.upLiesDown) up_ = transposed(up_, rank_);
    if (!hasMid_) return;
    mid_ = floatsOf(*factors.mid);
    joined_.resize(inner_ * area_);
    planes_.resize(area_ * in_);
}

void RowsOf::write(std::size_t first, std::size_t count, float *rows) {
    const std::size_t columns = in_ * area_;
    if (whole_) {
        std::copy_n(up_.data() + first * columns, count * columns, rows);
        return;
    }
    std::fill_n(rows, count * columns, 0.0f);
    if (!hasMid_) {
        addProduct(up_.data() + first * rank_, down_.data(), count, rank_, columns, rows);
        return;
    }
    for (std::size_t i = 0; i < count; i++) writeJoined(first + i, rows + i * columns);
}

/// `up` and `mid` first: what they make of one row is no larger than `mid`, while `mid` and `down`
/// together may be larger than the weight. Then all inputs for one place of the kernel at a time:
/// a kernel is too short a row.
void RowsOf::writeJoined(std::size_t row, float *columns) {
    std::fill(joined_.begin(), joined_.end(), 0.0f);
    addProduct(up_.data() + row * rank_, mid_.data(), 1, rank_, joined_.size(), joined_.data());
    std::fill(planes_.begin(), planes_.end(), 0.0f);
    addProduct(transposed(joined_, inner_).data(), down_.data(), area_, inner_, in_,
               planes_.data());
    for (std::size_t at = 0; at < area_; at++) {
        for (std::size_t i = 0; i < in_; i++) columns[i * area_ + at] = planes_[at * in_ + i];
    }
}

} // namespace magicmix
