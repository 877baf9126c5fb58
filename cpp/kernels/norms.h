#pragma once

// Group and layer norms, and the conversion to operands.

#include "kernels/numbers.h"

namespace magicmix::kernels {
namespace {

constexpr int kPixelsAtOnce = 32;

/// Of the channels of some pixels: how many pixels, means, and sums of squared deviations.
struct Statistics {
    float *count, *mean, *squares;
    Statistics(const GroupNorm &norm, std::int64_t slice, int image) {
        count = norm.statistics + (slice * norm.images + image) * (1 + 2 * norm.channels);
        mean = count + 1;
        squares = mean + norm.channels;
    }
};

template <typename S, typename X>
void sliceStatistics(const GroupNorm &norm, int step, std::int64_t slice) {
    const Share share(norm.pixels, static_cast<int>(slice), kNormSlices);
    const int channels = norm.channels;
    for (int image = 0; image < norm.images; image++) {
        const X *x = static_cast<const X *>(norm.x) + std::int64_t{image} * norm.pixels * step;
        const Statistics all(norm, slice, image);
        for (int c = 0; c < 2 * channels; c++) all.mean[c] = 0;
        float before = 0;
        for (std::int64_t first = share.begin; first < share.end; first += kPixelsAtOnce) {
            const int count =
                static_cast<int>(least(std::int64_t{kPixelsAtOnce}, share.end - first));
            const float pixels = static_cast<float>(count), together = before + pixels;
            const float weight = pixels / together, both = before * weight;
            across<S>(channels, [&](auto vectors, int c) {
                using T = decltype(vectors);
                const X *at = x + first * step + c;
                auto sum = T::zero();
                for (int i = 0; i < count; i++) sum = T::add(sum, loadFrom<T>(at + i * step));
                const auto mean = T::mul(sum, T::set(1 / pixels));
                auto squares = T::load(all.squares + c);
                for (int i = 0; i < count; i++) {
                    const auto apart = T::sub(loadFrom<T>(at + i * step), mean);
                    squares = T::fma(apart, apart, squares);
                }
                // Means and squares of two sets together: Chan, Golub and LeVeque 1979.
                const auto way = T::sub(mean, T::load(all.mean + c));
                squares = T::fma(T::mul(way, way), T::set(both), squares);
                T::store(all.mean + c, T::fma(way, T::set(weight), T::load(all.mean + c)));
                T::store(all.squares + c, squares);
            });
            before = together;
        }
        *all.count = before;
    }
}

template <typename S>
void groupStatistics(const GroupNorm &norm, int part, int parts) {
    const Share slices(kNormSlices, part, parts);
    for (std::int64_t slice = slices.begin; slice < slices.end; slice++) {
        if (norm.operandX) {
            sliceStatistics<S, typename S::Operand>(norm, operandRow<S>(norm.channels), slice);
        } else {
            sliceStatistics<S, float>(norm, norm.channels, slice);
        }
    }
}

/// Factor and shift of every channel of an image, from the statistics of all slices.
inline void groupFactors(const GroupNorm &norm, int image, float *factors, float *shifts) {
    const int channels = norm.channels, size = channels / norm.groups;
    for (int first = 0; first < channels; first += size) {
        double count = 0, mean = 0, squares = 0;
        for (int slice = 0; slice < kNormSlices; slice++) {
            const Statistics some(norm, slice, image);
            if (*some.count == 0) continue;
            double someMean = 0, someSquares = 0;
            for (int c = first; c < first + size; c++) someMean += some.mean[c];
            someMean /= size;
            for (int c = first; c < first + size; c++) {
                const double apart = some.mean[c] - someMean;
                someSquares += some.squares[c] + apart * apart * *some.count;
            }
            const double someCount = double{*some.count} * size, together = count + someCount;
            const double way = someMean - mean;
            squares += someSquares + way * way * count * someCount / together;
            mean += way * someCount / together;
            count = together;
        }
        const double perDeviation = 1 / std::sqrt(squares / count + norm.epsilon);
        for (int c = first; c < first + size; c++) {
            factors[c] = static_cast<float>(perDeviation * norm.scale[c]);
            shifts[c] = static_cast<float>(norm.shift[c] - mean * perDeviation * norm.scale[c]);
        }
    }
}

template <typename S, typename X>
void groupNormaliseOf(const GroupNorm &norm, int step, void *scratch, int part, int parts) {
    const Share share(norm.pixels, part, parts);
    const int channels = norm.channels, stride = operandRow<S>(channels);
    Arena arena(scratch);
    float *factors = arena.take<float>(channels), *shifts = arena.take<float>(channels);
    for (int image = 0; image < norm.images; image++) {
        groupFactors(norm, image, factors, shifts);
        for (std::int64_t pixel = share.begin; pixel < share.end; pixel++) {
            const std::int64_t row = std::int64_t{image} * norm.pixels + pixel;
            const X *x = static_cast<const X *>(norm.x) + row * step;
            auto *result = static_cast<typename S::Operand *>(norm.result) + row * stride;
            across<S>(channels, [&](auto vectors, int c) {
                using T = decltype(vectors);
                const auto y =
                    T::fma(loadFrom<T>(x + c), T::load(factors + c), T::load(shifts + c));
                storeTo<T>(result + c, norm.silu ? silu<T>(y) : y);
            });
            padRow<S>(result, channels);
        }
    }
}

template <typename S>
void groupNormalise(const GroupNorm &norm, void *scratch, int part, int parts) {
    if (norm.operandX) {
        groupNormaliseOf<S, typename S::Operand>(norm, operandRow<S>(norm.channels), scratch, part,
                                                 parts);
    } else {
        groupNormaliseOf<S, float>(norm, norm.channels, scratch, part, parts);
    }
}

inline std::size_t normScratch(const GroupNorm &norm) {
    Arena arena(nullptr);
    arena.take<float>(norm.channels);
    arena.take<float>(norm.channels);
    return arena.used();
}

template <typename S>
void layerNorm(const LayerNorm &norm, int part, int parts) {
    const Share share(norm.rows, part, parts);
    const int channels = norm.channels, stride = operandRow<S>(channels);
    const float each = 1.0f / static_cast<float>(channels);
    for (std::int64_t row = share.begin; row < share.end; row++) {
        const float *x = norm.x + row * channels;
        const auto sumOf = [&](auto term) {
            auto sums = S::zero();
            float rest = 0;
            across<S>(channels, [&](auto vectors, int c) {
                using T = decltype(vectors);
                if constexpr (T::lanes == S::lanes) {
                    sums = S::add(sums, term(vectors, c));
                } else {
                    rest += term(vectors, c);
                }
            });
            return S::sumOf(sums) + rest;
        };
        const float mean = each * sumOf([&](auto vectors, int c) {
                               using T = decltype(vectors);
                               return T::load(x + c);
                           });
        const float variance = each * sumOf([&](auto vectors, int c) {
                                   using T = decltype(vectors);
                                   const auto apart = T::sub(T::load(x + c), T::set(mean));
                                   return T::mul(apart, apart);
                               });
        const float factor = 1 / std::sqrt(variance + norm.epsilon);
        auto *result = static_cast<typename S::Operand *>(norm.result) + row * stride;
        across<S>(channels, [&](auto vectors, int c) {
            using T = decltype(vectors);
            const auto y = T::mul(T::sub(T::load(x + c), T::set(mean)), T::set(factor));
            storeTo<T>(result + c, T::fma(y, T::load(norm.scale + c), T::load(norm.shift + c)));
        });
        padRow<S>(result, channels);
    }
}

template <typename S>
void toOperand(const float *x, std::int64_t rows, int channels, void *operand, int part,
               int parts) {
    const Share share(rows, part, parts);
    const int stride = operandRow<S>(channels);
    for (std::int64_t row = share.begin; row < share.end; row++) {
        auto *result = static_cast<typename S::Operand *>(operand) + row * stride;
        across<S>(channels, [&](auto vectors, int c) {
            using T = decltype(vectors);
            storeTo<T>(result + c, T::load(x + row * channels + c));
        });
        padRow<S>(result, channels);
    }
}

} // namespace
} // namespace magicmix::kernels
