// Compares the kernels of every instruction set of this machine with plain loops in double
// precision, over random shapes and extreme values. One line a comparison: what, the worst relative
// error, the bound; exit code 1 if any is above.
//
//     check [seed]

#include "kernels/kernels.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <random>
#include <string>
#include <vector>

using namespace magicmix::kernels;

namespace {

using Values = std::vector<float>;
using Bytes = std::vector<unsigned char>;

struct Random {
    std::mt19937 engine;
    int between(int low, int high) { return std::uniform_int_distribution<int>(low, high)(engine); }
    bool flip() { return between(0, 1) == 1; }
    int oneOf(std::initializer_list<int> values) {
        return *(values.begin() + between(0, static_cast<int>(values.size()) - 1));
    }
    Values normal(std::size_t count, float deviation = 1) {
        std::normal_distribution<float> distribution(0, deviation);
        Values values(count);
        for (float &value : values) value = distribution(engine);
        return values;
    }
};

float asBf16(float x) {
    std::uint32_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    bits = (bits + 0x7fff + ((bits >> 16) & 1)) & 0xffff0000u;
    std::memcpy(&x, &bits, sizeof x);
    return x;
}

std::uint16_t bf16Bits(float x) {
    std::uint32_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    return static_cast<std::uint16_t>(bits >> 16);
}

/// What is left of `x` in f16, for what is neither tiny nor huge.
float asF16(float x) {
    const float rounder = std::ldexp(1.0f, std::max(std::ilogb(x == 0 ? 1e-30f : x), -14) + 13);
    volatile float sum = std::fabs(x) + rounder;
    return std::copysign(sum - rounder, x);
}
std::uint16_t f16Bits(float x) {
    const float magnitude = std::fabs(x);
    const std::uint16_t sign = std::signbit(x) ? 0x8000 : 0;
    if (magnitude < 0x1p-14f)
        return static_cast<std::uint16_t>(sign | std::lround(magnitude * 0x1p24f));
    std::uint32_t bits;
    std::memcpy(&bits, &magnitude, sizeof bits);
    return static_cast<std::uint16_t>(sign | ((bits - (112u << 23)) >> 13));
}

/// Blocks of a factor and `count` bytes, from which 100 is taken.
template <int count>
void unpackBlocks(const void *blocks, float *values, std::int64_t valueCount) {
    const auto *from = static_cast<const unsigned char *>(blocks);
    for (std::int64_t i = 0; i < valueCount; i += count) {
        float factor;
        std::memcpy(&factor, from, sizeof factor);
        from += sizeof factor;
        for (int j = 0; j < count; j++) *values++ = factor * static_cast<float>(*from++ - 100);
    }
}
template <int count>
constexpr BlockFormat blockFormat = {count, 4 + count, unpackBlocks<count>};

/// The worst error of each kind of comparison.
class Report {
public:
    void compare(const std::string &what, const std::vector<double> &expected, const Values &actual,
                 double bound) {
        compare(what, expected, actual, bound, expected);
    }
    /// `scale`: what errors are relative to, where the expected values are small differences.
    void compare(const std::string &what, const std::vector<double> &expected, const Values &actual,
                 double bound, const std::vector<double> &scale) {
        double apart = 0, size = 0;
        bool finite = true;
        for (std::size_t i = 0; i < expected.size(); i++) {
            finite = finite && std::isfinite(actual[i]);
            apart += (actual[i] - expected[i]) * (actual[i] - expected[i]);
            size += scale[i] * scale[i];
        }
        const double error = finite ? std::sqrt(apart / std::max(size, 1e-60)) : 1e9;
        Line &line = lines_[what];
        line.worst = std::max(line.worst, error);
        line.bound = bound;
        line.count++;
    }
    bool print() const {
        bool good = true;
        for (const auto &[what, line] : lines_) {
            const bool within = line.worst <= line.bound;
            good = good && within;
            std::printf("%-5s %-40s worst %.2e bound %.0e cases %d\n", within ? "ok" : "WRONG",
                        what.c_str(), line.worst, line.bound, line.count);
        }
        return good;
    }

private:
    struct Line {
        double worst = 0, bound = 0;
        int count = 0;
    };
    std::map<std::string, Line> lines_;
};

/// A buffer that ends exactly where the values do, so that valgrind sees what is read behind them.
template <typename T>
struct Buffer {
    explicit Buffer(std::int64_t count) : values(static_cast<std::size_t>(count)) {}
    std::vector<T> values;
};

/// All parts in turn, as threads would do them together.
void inParts(int parts, const std::function<void(int)> &work) {
    for (int part = 0; part < parts; part++) work(part);
}

class Check {
public:
    Check(const Kernels &kernels, Random &random, Report &report)
        : k_(kernels), random_(random), report_(report) {}

    void all() {
        for (int i = 0; i < 60; i++) product(false);
        for (int i = 0; i < 20; i++) product(true);
        for (int i = 0; i < 60; i++) attention(1);
        for (int i = 0; i < 20; i++) attention(60);
        for (int i = 0; i < 10; i++) attention(0);
        notANumber();
        for (int i = 0; i < 40; i++) groupNorm();
        for (int i = 0; i < 40; i++) layerNorm();
    }

private:
    /// As the instruction set takes it: rounded to bf16 or not at all.
    float rounded(float x) const { return k_.bf16Operands ? asBf16(x) : x; }
    std::string named(const std::string &what) const { return std::string(k_.name) + " " + what; }
    double bound(double f32) const { return k_.bf16Operands ? 6e-3 : f32; }

    /// Not numbers, until something is written there.
    Bytes operandMemory(std::int64_t rows, int channels) const {
        return Bytes(static_cast<std::size_t>(rows) *
                         static_cast<std::size_t>(operandStride(k_, channels)) * operandSize(k_),
                     0xff);
    }
    Bytes operand(const Values &x, std::int64_t rows, int channels) {
        Bytes bytes = operandMemory(rows, channels);
        inParts(3,
                [&](int part) { k_.toOperand(x.data(), rows, channels, bytes.data(), part, 3); });
        return bytes;
    }
    Values read(const Bytes &bytes, std::int64_t rows, int channels) const {
        Values values;
        const int stride = operandStride(k_, channels);
        for (std::int64_t row = 0; row < rows; row++) {
            for (int c = 0; c < channels; c++) {
                const auto at = static_cast<std::size_t>(row * stride + c) * operandSize(k_);
                float value;
                if (k_.bf16Operands) {
                    std::uint16_t half;
                    std::memcpy(&half, &bytes[at], 2);
                    const std::uint32_t bits = static_cast<std::uint32_t>(half) << 16;
                    std::memcpy(&value, &bits, 4);
                } else {
                    std::memcpy(&value, &bytes[at], 4);
                }
                values.push_back(value);
            }
            // What pads a row is multiplied too.
            for (int c = channels; c < stride; c++) {
                const auto at = static_cast<std::size_t>(row * stride + c) * operandSize(k_);
                if (bytes[at] != 0 || bytes[at + 1] != 0) values.back() = NAN;
            }
        }
        return values;
    }

    /// Packs weights, and rounds them to what the storage keeps of them.
    Bytes packed(const WeightShape &shape, Values &weights) {
        if (shape.storage == Storage::Blocks) return inBlocks(shape, weights);
        const WeightPacker packer(k_, shape);
        Bytes bytes(static_cast<std::size_t>(packedBytes(k_, shape)));
        const auto taps = static_cast<std::size_t>(shape.taps);
        const std::size_t length = static_cast<std::size_t>(shape.in) * taps;
        std::vector<std::uint16_t> halves(weights.size());
        for (std::size_t i = 0; i < weights.size(); i++) {
            if (shape.storage == Storage::BF16) {
                weights[i] = asBf16(weights[i]);
                halves[i] = bf16Bits(weights[i]);
            } else if (shape.storage == Storage::F16) {
                weights[i] = asF16(weights[i]);
                halves[i] = f16Bits(weights[i]);
            }
        }
        for (int panel = 0; panel < packer.panels(); panel++) {
            unsigned char *to = &bytes[static_cast<std::size_t>(panel * packer.panelBytes())];
            Values columns;
            std::vector<std::uint16_t> halfColumns;
            for (int column = 0; column < k_.panelWidth; column++) {
                const int channel = packer.channelOf(panel, column);
                for (std::size_t i = 0; i < length; i++) {
                    const std::size_t at = static_cast<std::size_t>(channel) * length + i;
                    columns.push_back(channel < 0 ? 0 : weights[at]);
                    halfColumns.push_back(channel < 0 ? std::uint16_t{0} : halves[at]);
                }
            }
            if (shape.storage == Storage::F32 || shape.storage == Storage::Q8) {
                packer.pack(columns.data(), to);
            } else {
                packer.pack(halfColumns.data(), to);
            }
        }
        if (shape.storage == Storage::Q8) {
            for (std::size_t channel = 0; channel < static_cast<std::size_t>(shape.out);
                 channel++) {
                for (std::size_t tap = 0; tap < taps; tap++) {
                    roundToQ8(&weights[channel * length + tap], shape.in, taps);
                }
            }
        }
        return bytes;
    }

    Bytes inBlocks(const WeightShape &shape, Values &weights) {
        Bytes bytes(static_cast<std::size_t>(packedBytes(k_, shape)));
        unsigned char *to = bytes.data();
        const auto count = static_cast<std::size_t>(shape.blocks.values);
        for (std::size_t first = 0; first < weights.size(); first += count) {
            const float factor = std::fabs(weights[first]) / 50 + 1e-3f;
            std::memcpy(to, &factor, sizeof factor);
            to += sizeof factor;
            for (std::size_t i = first; i < first + count; i++) {
                const float steps =
                    std::min(std::max(std::round(weights[i] / factor), -100.0f), 100.0f);
                *to++ = static_cast<unsigned char>(steps + 100);
                weights[i] = rounded(factor * steps);
            }
        }
        return bytes;
    }

    void roundToQ8(float *weights, int count, std::size_t step) const {
        for (int first = 0; first < count; first += 32) {
            float largest = 0;
            const int end = std::min(count, first + 32);
            const auto at = [&](int i) -> float & {
                return weights[static_cast<std::size_t>(i) * step];
            };
            for (int i = first; i < end; i++) largest = std::max(largest, std::fabs(at(i)));
            const float factor = asF16(largest / 127);
            for (int i = first; i < end; i++) {
                const float steps = factor > 0 ? std::nearbyint(at(i) / factor) : 0;
                at(i) = rounded(std::min(std::max(steps, -127.0f), 127.0f) * factor);
            }
        }
    }

    void product(bool whole) {
        Product p;
        p.images = random_.between(1, 2);
        p.kernel = random_.oneOf({1, 1, 3, 3, 3});
        p.stride = p.kernel == 3 ? random_.oneOf({1, 1, 2}) : 1;
        p.height = p.kernel == 1 && random_.flip() ? 1 : random_.between(1, 12);
        p.width = random_.between(1, 40);
        p.padding = p.kernel == 3 && (p.stride == 1 || random_.flip()) ? 1 : 0;
        p.magnify = p.kernel == 3 && p.stride == 1 ? random_.oneOf({1, 1, 2}) : 1;
        const auto outSize = [&](int size) {
            if (p.magnify == 2) return std::max(1, 2 * size - random_.between(0, 1));
            // Without padding at the left there is one more zero at the right.
            return p.stride == 1 ? size : (size + (p.padding ? 2 : 1) - p.kernel) / p.stride + 1;
        };
        p.outHeight = std::max(1, outSize(p.height));
        p.outWidth = std::max(1, outSize(p.width));
        if (p.padding == 1 && p.stride == 1 && p.magnify == 1 && random_.flip()) { // a band
            p.rowsAbove = 1;
            p.outHeight = std::max(1, p.height - random_.between(1, 2));
        }
        p.shape.in = random_.oneOf({1, 3, 4, 17, 40, 64, 96, 1300});
        p.shape.out = random_.oneOf({1, 3, 4, 30, 32, 50, 64, 130});
        p.shape.taps = p.kernel * p.kernel;
        p.shape.gated = p.kernel == 1 && random_.flip();
        if (p.shape.gated) p.shape.out = 2 * ((p.shape.out + 1) / 2);
        const int kept = whole ? 2 : 4; // Q8 and Blocks keep no whole numbers
        p.shape.storage = static_cast<Storage>(k_.bf16Operands ? random_.between(2, kept)
                                                               : random_.between(0, kept));

        p.shape.blocks = p.shape.in * p.shape.taps % 12 == 0 ? blockFormat<12> : blockFormat<1>;

        const std::int64_t inPixels = std::int64_t{p.images} * p.height * p.width;
        const std::int64_t outPixels = std::int64_t{p.images} * p.outHeight * p.outWidth;
        const auto in = static_cast<std::size_t>(p.shape.in),
                   out = static_cast<std::size_t>(p.shape.out);
        const auto taps = static_cast<std::size_t>(p.shape.taps);
        const auto size = [](std::int64_t n) { return static_cast<std::size_t>(n); };
        Values x = random_.normal(size(inPixels) * in);
        Values weights =
            random_.normal(out * in * taps, 1 / std::sqrt(static_cast<float>(in * taps)));
        if (random_.between(0, 5) == 0) { // denormals count as nothing or as what they are
            for (std::size_t i = 0; i < x.size(); i += 3) x[i] = 1e-40f;
        }
        if (whole) { // small whole numbers: nothing is rounded, so every sum must be exact
            for (float &v : x) v = std::round(v * 2);
            for (float &v : weights) v = static_cast<float>(random_.between(-2, 2));
        }
        const Values bias = random_.normal(out), bias2 = random_.normal(out * size(p.images));
        Values residual = random_.normal(out * size(outPixels));
        const Bytes xOperand = operand(x, inPixels, p.shape.in),
                    packedWeights = packed(p.shape, weights);
        for (float &v : x) v = rounded(v);
        p.x = xOperand.data();
        p.weights = packedWeights.data();
        if (!whole && random_.flip()) p.bias = bias.data();
        if (!whole && !p.shape.gated && random_.flip()) p.bias2 = bias2.data();
        p.bias2PerImage = p.bias2 && random_.flip();
        Bytes residualOperand;
        if (!whole && !p.shape.gated && random_.flip()) {
            p.residual = residual.data();
            p.operandResidual = random_.flip();
            if (p.operandResidual) {
                residualOperand = operand(residual, outPixels, p.shape.out);
                p.residual = residualOperand.data();
                for (float &v : residual) v = rounded(v);
            }
        }
        p.operandResult = !whole && !p.shape.gated && random_.between(0, 3) == 0;
        const bool asOperand = p.shape.gated || p.operandResult;
        const int outChannels = p.shape.gated ? p.shape.out / 2 : p.shape.out;

        std::vector<double> expected, scale;
        for (int n = 0; n < p.images; n++)
            for (int oy = 0; oy < p.outHeight; oy++)
                for (int ox = 0; ox < p.outWidth; ox++) {
                    std::vector<double> sums(out);
                    for (std::size_t o = 0; o < out; o++) {
                        double sum = p.bias ? bias[o] : 0;
                        for (int t = 0; t < p.shape.taps; t++) {
                            const int y = oy * p.stride + t / p.kernel - p.padding + p.rowsAbove;
                            const int xx = ox * p.stride + t % p.kernel - p.padding;
                            const int h = p.magnify == 2 ? p.outHeight : p.height;
                            const int w = p.magnify == 2 ? p.outWidth : p.width;
                            if (y < 0 || xx < 0 || y >= h || xx >= w) continue;
                            const std::size_t pixel =
                                size((std::int64_t{n} * p.height + y / p.magnify) * p.width +
                                     xx / p.magnify);
                            for (std::size_t i = 0; i < in; i++)
                                sum += double{x[pixel * in + i]} *
                                       weights[(o * in + i) * taps + size(t)];
                        }
                        const std::size_t row = expected.size() / (p.shape.gated ? out / 2 : out);
                        if (p.bias2) sum += bias2[(p.bias2PerImage ? size(n) * out : 0) + o];
                        if (p.residual) sum += residual[row * out + o];
                        sums[o] = sum;
                    }
                    if (p.shape.gated) {
                        for (std::size_t o = 0; o < out / 2; o++) {
                            const double g = sums[out / 2 + o];
                            scale.push_back(sums[o] * g); // GELU of a negative g is nearly 0
                            sums[o] *= g * (1 + std::erf(g / std::sqrt(2.0))) / 2;
                        }
                        sums.resize(out / 2);
                    }
                    expected.insert(expected.end(), sums.begin(), sums.end());
                }

        const int parts = random_.between(1, 5);
        Bytes scratch(k_.productScratch(p) + 64);
        Values plain(asOperand ? 0 : out * size(outPixels));
        Bytes packedResult = asOperand ? operandMemory(outPixels, outChannels) : Bytes();
        p.result = asOperand ? static_cast<void *>(packedResult.data()) : plain.data();
        inParts(parts, [&](int part) { k_.product(p, aligned(scratch), part, parts); });
        const Values actual = asOperand ? read(packedResult, outPixels, outChannels) : plain;
        if (whole && !p.shape.gated) {
            report_.compare(named("product of whole numbers"), expected, actual, 0);
        } else {
            // The factors were rounded before, so only a result that is an operand is rounded here.
            report_.compare(named(p.shape.gated     ? "gated product"
                                  : p.operandResult ? "product, rounded"
                                                    : "product"),
                            expected, actual, asOperand ? bound(3e-6) : 3e-6,
                            p.shape.gated ? scale : expected);
        }
    }

    static void *aligned(Bytes &bytes) {
        const auto address = reinterpret_cast<std::uintptr_t>(bytes.data());
        return bytes.data() + (64 - address % 64) % 64;
    }

    /// `size` of the logits: 60 is one-hot almost everywhere, 0 makes all keys equal.
    void attention(float size) {
        Attention a;
        a.images = random_.between(1, 2);
        a.heads = random_.between(1, 3);
        a.width = random_.oneOf({1, 5, 8, 16, 20, 40, 64, 80, 160});
        a.queryCount = random_.between(1, 90);
        a.causal = random_.between(0, 3) == 0;
        a.keyCount = a.causal ? a.queryCount : random_.oneOf({1, 7, 77, 256, 300, 600});
        const int channels = a.heads * a.width;
        const auto count = [&](int tokens) {
            return static_cast<std::size_t>(a.images) * static_cast<std::size_t>(tokens) *
                   static_cast<std::size_t>(channels);
        };
        const Values q = random_.normal(count(a.queryCount), std::sqrt(size));
        const Values k = random_.normal(count(a.keyCount), std::sqrt(size)),
                     v = random_.normal(count(a.keyCount));

        std::vector<double> expected(count(a.queryCount));
        for (int n = 0; n < a.images; n++)
            for (int h = 0; h < a.heads; h++)
                for (int i = 0; i < a.queryCount; i++) {
                    const auto at = [&](int tokens, int token) {
                        return (static_cast<std::size_t>(n) * static_cast<std::size_t>(tokens) +
                                static_cast<std::size_t>(token)) *
                                   static_cast<std::size_t>(channels) +
                               static_cast<std::size_t>(h * a.width);
                    };
                    const int seen = a.causal ? i + 1 : a.keyCount;
                    std::vector<double> share(static_cast<std::size_t>(seen));
                    double largest = -1e300, total = 0;
                    for (int j = 0; j < seen; j++) {
                        double logit = 0;
                        for (int c = 0; c < a.width; c++) {
                            const auto o = static_cast<std::size_t>(c);
                            // The kernel scales queries before it rounds them.
                            const float scale =
                                static_cast<float>(1.44269504f / std::sqrt(double(a.width)));
                            logit += double{rounded(q[at(a.queryCount, i) + o] * scale)} /
                                     1.44269504 * rounded(k[at(a.keyCount, j) + o]);
                        }
                        share[static_cast<std::size_t>(j)] = logit;
                        largest = std::max(largest, logit);
                    }
                    for (double &s : share) total += s = std::exp(s - largest);
                    for (int c = 0; c < a.width; c++) {
                        double sum = 0;
                        for (int j = 0; j < seen; j++)
                            sum += share[static_cast<std::size_t>(j)] / total *
                                   v[at(a.keyCount, j) + static_cast<std::size_t>(c)];
                        expected[at(a.queryCount, i) + static_cast<std::size_t>(c)] = sum;
                    }
                }

        Bytes keys(static_cast<std::size_t>(packedKeysCount(k_, a)) * operandSize(k_));
        Bytes values(static_cast<std::size_t>(packedValuesCount(k_, a)) * operandSize(k_));
        Bytes result = operandMemory(a.images * a.queryCount, channels);
        Bytes scratch(k_.attentionScratch(a) + 64);
        a.queries = q.data();
        a.keys = keys.data();
        a.values = values.data();
        a.result = result.data();
        const int parts = random_.between(1, 4);
        inParts(parts, [&](int part) { k_.packKeys(a, k.data(), keys.data(), part, parts); });
        inParts(parts, [&](int part) { k_.packValues(a, v.data(), values.data(), part, parts); });
        inParts(parts, [&](int part) { k_.attention(a, aligned(scratch), part, parts); });
        const std::string what = size > 1    ? "attention, large logits"
                                 : size == 0 ? "attention, equal logits"
                                             : "attention";
        report_.compare(named(what), expected,
                        read(result, std::int64_t{a.images} * a.queryCount, channels),
                        bound(size > 1 ? 3e-5 : 3e-6));
    }

    /// A key that is no number shows in every query that sees it.
    void notANumber() {
        Attention a;
        a.width = 40;
        a.queryCount = a.keyCount = 50;
        const Values q = random_.normal(2000), v = random_.normal(2000);
        Values k = random_.normal(2000);
        k[123] = std::nanf("");
        Bytes keys(static_cast<std::size_t>(packedKeysCount(k_, a)) * operandSize(k_));
        Bytes values(static_cast<std::size_t>(packedValuesCount(k_, a)) * operandSize(k_));
        Bytes result = operandMemory(50, 40), scratch(k_.attentionScratch(a) + 64);
        a.queries = q.data();
        a.keys = keys.data();
        a.values = values.data();
        a.result = result.data();
        k_.packKeys(a, k.data(), keys.data(), 0, 1);
        k_.packValues(a, v.data(), values.data(), 0, 1);
        k_.attention(a, aligned(scratch), 0, 1);
        Values finite;
        for (const float x : read(result, 50, 40)) finite.push_back(std::isnan(x) ? 0.0f : 1.0f);
        report_.compare(named("attention, not a number"), std::vector<double>(2000), finite, 0);
    }

    void groupNorm() {
        GroupNorm norm;
        norm.images = random_.between(1, 2);
        norm.groups = random_.oneOf({1, 2, 8, 32});
        norm.channels = norm.groups * random_.between(1, 12);
        norm.pixels = random_.between(1, 300);
        norm.epsilon = 1e-5f;
        norm.silu = random_.flip();
        const auto channels = static_cast<std::size_t>(norm.channels),
                   pixels = static_cast<std::size_t>(norm.pixels);
        Values x = random_.normal(channels * pixels * static_cast<std::size_t>(norm.images));
        const float far =
            static_cast<float>(random_.oneOf({0, 0, 100})); // a mean that swamps the deviation
        for (float &v : x) v += far;
        const Values scale = random_.normal(channels), shift = random_.normal(channels);
        norm.operandX = far == 0 && random_.flip(); // rounding would leave little beside the mean
        const Bytes xOperand = operand(x, std::int64_t{norm.images} * norm.pixels, norm.channels);
        norm.x = norm.operandX ? static_cast<const void *>(xOperand.data()) : x.data();
        if (norm.operandX) {
            for (float &v : x) v = rounded(v);
        }
        norm.scale = scale.data();
        norm.shift = shift.data();

        std::vector<double> expected(x.size());
        const std::size_t size = channels / static_cast<std::size_t>(norm.groups);
        for (std::size_t n = 0; n < static_cast<std::size_t>(norm.images); n++)
            for (std::size_t g = 0; g < channels; g += size) {
                double sum = 0, squares = 0;
                const double count = static_cast<double>(pixels * size);
                const auto each = [&](const std::function<void(std::size_t, std::size_t)> &f) {
                    for (std::size_t i = 0; i < pixels; i++)
                        for (std::size_t c = g; c < g + size; c++)
                            f((n * pixels + i) * channels + c, c);
                };
                each([&](std::size_t at, std::size_t) { sum += x[at]; });
                each([&](std::size_t at, std::size_t) {
                    squares += (x[at] - sum / count) * (x[at] - sum / count);
                });
                each([&](std::size_t at, std::size_t c) {
                    double y = (x[at] - sum / count) / std::sqrt(squares / count + norm.epsilon) *
                                   scale[c] +
                               shift[c];
                    expected[at] = norm.silu ? y / (1 + std::exp(-y)) : y;
                });
            }

        const int parts = random_.between(1, 4);
        Values statistics(static_cast<std::size_t>(kNormSlices * norm.images) * (1 + 2 * channels));
        norm.statistics = statistics.data();
        const std::int64_t rows = std::int64_t{norm.images} * norm.pixels;
        Bytes result = operandMemory(rows, norm.channels);
        norm.result = result.data();
        Bytes scratch(k_.normScratch(norm) + 64);
        inParts(parts, [&](int part) { k_.groupStatistics(norm, part, parts); });
        inParts(parts, [&](int part) { k_.groupNormalise(norm, aligned(scratch), part, parts); });
        // With a mean of 100, f32 itself has only five digits of what is left.
        report_.compare(named(far > 0 ? "group norm, far mean" : "group norm"), expected,
                        read(result, rows, norm.channels), bound(far > 0 ? 1e-4 : 3e-6));
    }

    void layerNorm() {
        LayerNorm norm;
        norm.rows = random_.between(1, 50);
        norm.channels = random_.oneOf({1, 2, 5, 16, 40, 77, 320, 768});
        norm.epsilon = 1e-5f;
        const auto channels = static_cast<std::size_t>(norm.channels);
        const Values x = random_.normal(channels * static_cast<std::size_t>(norm.rows), 1e-3f);
        const Values scale = random_.normal(channels), shift = random_.normal(channels);
        norm.x = x.data();
        norm.scale = scale.data();
        norm.shift = shift.data();
        std::vector<double> expected;
        for (std::size_t row = 0; row < static_cast<std::size_t>(norm.rows); row++) {
            const float *at = &x[row * channels];
            double mean = 0, squares = 0;
            for (std::size_t c = 0; c < channels; c++) mean += double{at[c]} / norm.channels;
            for (std::size_t c = 0; c < channels; c++)
                squares += (at[c] - mean) * (at[c] - mean) / norm.channels;
            for (std::size_t c = 0; c < channels; c++)
                expected.push_back((at[c] - mean) / std::sqrt(squares + norm.epsilon) * scale[c] +
                                   shift[c]);
        }
        Bytes result = operandMemory(norm.rows, norm.channels);
        norm.result = result.data();
        const int parts = random_.between(1, 4);
        inParts(parts, [&](int part) { k_.layerNorm(norm, part, parts); });
        report_.compare(named("layer norm"), expected, read(result, norm.rows, norm.channels),
                        bound(3e-6));
    }

    const Kernels &k_;
    Random &random_;
    Report &report_;
};

} // namespace

int main(int count, char **arguments) {
    Report report;
    for (const char *name : {"amx", "avx512bf16", "avx512", "avx2", "neon", "portable"}) {
        const Kernels *kernels = kernelsNamed(name);
        if (kernels == nullptr) continue;
        Random random{std::mt19937(count > 1 ? static_cast<unsigned>(std::atoi(arguments[1])) : 1)};
        Check(*kernels, random, report).all();
    }
    return report.print() ? 0 : 1;
}
