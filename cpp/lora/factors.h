#pragma once

#include "lora/lora_change.h"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace magicmix {

/// `[out, in, height, width]`; of a matrix the last two are 1, and of a vector `in` as well.
struct KernelShape {
    std::int64_t out = 1, in = 1, height = 1, width = 1;

    explicit KernelShape(const std::vector<std::int64_t> &shape);
    KernelShape(std::int64_t o, std::int64_t i, std::int64_t h, std::int64_t w)
        : out(o), in(i), height(h), width(w) {}

    std::int64_t area() const { return height * width; }
    std::size_t rows() const { return static_cast<std::size_t>(out); }
    std::size_t columns() const { return static_cast<std::size_t>(in * area()); }
};

bool fits(const Factors &factors, const KernelShape &shape);

/// Computes a matrix of fitting factors a few rows at a time, so that it need not be held.
class RowsOf {
public:
    RowsOf(const Factors &factors, const KernelShape &shape);

    /// Writes `count` rows from `first` on.
    void write(std::size_t first, std::size_t count, float *rows);

private:
    void writeJoined(std::size_t row, float *columns);

    std::size_t in_, area_, rank_ = 0, inner_ = 0;
    bool whole_, hasMid_;
    std::vector<float> up_;     ///< `[out, rank]`, or the whole matrix
    std::vector<float> mid_;    ///< `[rank, inner, area]`
    std::vector<float> down_;   ///< `[rank, columns]`; beside a `mid` `[inner, in]`
    std::vector<float> joined_; ///< of one row: `[inner, area]`
    std::vector<float> planes_; ///< of one row: `[area, in]`
};

} // namespace magicmix
