// What this machine can do, and how long the kernels take for every operation of one UNet step of
// Stable Diffusion, each measured alone: a JSON object.
//
//     kernels_shapes [threads] [prompts] [kernels] [side of the latent] [all | ceiling] [sd15 |
//     sdxl]

#include "kernels/kernels.h"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <string>
#include <thread>
#include <vector>

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#endif

using namespace magicmix::kernels;

namespace {

using Bytes = std::vector<unsigned char>;

const Kernels *kernels = nullptr;
int threads = 1;
int prompts = 2; // what guidance makes a batch of

double seconds() {
    const auto now = std::chrono::steady_clock::now().time_since_epoch();
    return std::chrono::duration<double>(now).count();
}

/// The best of some runs on all threads.
double timeOf(const std::function<void(int part)> &work) {
    double best = 1e9;
    for (int i = 0; i < 5; i++) {
        const double begin = seconds();
        std::vector<std::thread> others;
        for (int part = 1; part < threads; part++) others.emplace_back(work, part);
        work(0);
        for (auto &other : others) other.join();
        best = std::min(best, seconds() - begin);
    }
    return best;
}

Bytes zeros(std::int64_t count, std::size_t size) {
    return Bytes(static_cast<std::size_t>(count) * size + 64);
}

void *aligned(Bytes &bytes) {
    const auto address = reinterpret_cast<std::uintptr_t>(bytes.data());
    return bytes.data() + (64 - address % 64) % 64;
}

/// Memory for every thread.
class Scratch {
public:
    explicit Scratch(std::size_t size)
        : all_(static_cast<std::size_t>(threads), Bytes(size + 64)) {}
    void *operator[](int part) { return aligned(all_[static_cast<std::size_t>(part)]); }

private:
    std::vector<Bytes> all_;
};

// ---------------------------------------------------------------------------------------------
// Operations

Product productOf(int side, int in, int out, int kernel, int stride, bool gated) {
    Product p;
    p.images = prompts;
    const int outSide = side / stride;
    p.width = kernel == 1 ? side * side : side;
    p.height = kernel == 1 ? 1 : side;
    p.outWidth = kernel == 1 ? outSide * outSide : outSide;
    p.outHeight = kernel == 1 ? 1 : outSide;
    p.kernel = kernel;
    p.stride = stride;
    p.padding = kernel / 2;
    p.shape = {
        in, out, kernel * kernel, gated, kernels->bf16Operands ? Storage::BF16 : Storage::F32, {}};
    return p;
}

double timeOfProduct(Product p) {
    const std::int64_t in = std::int64_t{p.images} * p.width * p.height;
    const std::int64_t out = std::int64_t{p.images} * p.outWidth * p.outHeight;
    Bytes x = zeros(in * operandStride(*kernels, p.shape.in), operandSize(*kernels));
    Bytes weights = zeros(packedBytes(*kernels, p.shape), 1);
    Bytes result = zeros(out * p.shape.out, 4);
    p.x = aligned(x);
    p.weights = aligned(weights);
    p.result = aligned(result);
    Scratch scratch(kernels->productScratch(p));
    return timeOf([&](int part) { kernels->product(p, scratch[part], part, threads); });
}

double timeOfAttention(int heads, int width, int queries, int keys) {
    Attention a;
    a.images = prompts;
    a.heads = heads;
    a.width = width;
    a.queryCount = queries;
    a.keyCount = keys;
    const std::int64_t channels = heads * width;
    Bytes k = zeros(prompts * keys * channels, 4), q = zeros(prompts * queries * channels, 4);
    Bytes packedKeys = zeros(packedKeysCount(*kernels, a), operandSize(*kernels));
    Bytes packedValues = zeros(packedValuesCount(*kernels, a), operandSize(*kernels));
    Bytes result = zeros(prompts * queries * operandStride(*kernels, heads * width), 4);
    a.queries = static_cast<const float *>(aligned(q));
    a.keys = aligned(packedKeys);
    a.values = aligned(packedValues);
    a.result = aligned(result);
    const auto *plain = static_cast<const float *>(aligned(k));
    Scratch scratch(kernels->attentionScratch(a));
    const double packing = timeOf([&](int part) {
        kernels->packKeys(a, plain, aligned(packedKeys), part, threads);
        kernels->packValues(a, plain, aligned(packedValues), part, threads);
    });
    return packing + timeOf([&](int part) { kernels->attention(a, scratch[part], part, threads); });
}

double timeOfGroupNorm(int side, int channels) {
    GroupNorm norm;
    norm.images = prompts;
    norm.pixels = side * side;
    norm.channels = channels;
    norm.groups = 32;
    norm.silu = true;
    const std::int64_t count = std::int64_t{prompts} * norm.pixels * channels;
    Bytes x = zeros(count, 4), result = zeros(count, 4), factors = zeros(channels, 4);
    Bytes statistics = zeros(std::int64_t{kNormSlices} * prompts * (1 + 2 * channels), 4);
    norm.x = aligned(x);
    norm.result = aligned(result);
    norm.scale = norm.shift = static_cast<const float *>(aligned(factors));
    norm.statistics = static_cast<float *>(aligned(statistics));
    Scratch scratch(kernels->normScratch(norm));
    return timeOf([&](int part) { kernels->groupStatistics(norm, part, threads); }) +
           timeOf([&](int part) { kernels->groupNormalise(norm, scratch[part], part, threads); });
}

double timeOfLayerNorm(std::int64_t rows, int channels) {
    LayerNorm norm;
    norm.rows = rows;
    norm.channels = channels;
    Bytes x = zeros(rows * channels, 4), result = zeros(rows * channels, 4);
    Bytes factors = zeros(channels, 4);
    norm.x = static_cast<const float *>(aligned(x));
    norm.result = aligned(result);
    norm.scale = norm.shift = static_cast<const float *>(aligned(factors));
    return timeOf([&](int part) { kernels->layerNorm(norm, part, threads); });
}

// ---------------------------------------------------------------------------------------------
// One step of the UNet

struct Operation {
    double operations = 0; // floating point
    int count = 0;
    std::function<double()> time;
};

/// By class and shape.
using Step = std::map<std::string, std::map<std::string, Operation>>;

struct UNetSizes {
    std::vector<int> channels; // by level, from fine to coarse
    std::vector<int> depths;   // blocks of the transformers, by level
    int middleDepth;
    int headWidth; // 0: there are 8 heads
};
const UNetSizes kSd15{{320, 640, 1280, 1280}, {1, 1, 1, 0}, 1, 0};
const UNetSizes kSdxl{{320, 640, 1280}, {0, 2, 10}, 10, 64};

class UNetStep {
public:
    UNetStep(const UNetSizes &sizes, int side) : headWidth_(sizes.headWidth) {
        const std::vector<int> &channels = sizes.channels;
        const std::size_t levels = channels.size();
        std::vector<int> skips{channels[0]};
        int at = channels[0];
        conv(side, 4, at);
        for (std::size_t level = 0; level < levels; level++) {
            for (int i = 0; i < 2; i++) {
                block(side, at, channels[level], sizes.depths[level]);
                skips.push_back(at = channels[level]);
            }
            if (level + 1 == levels) break;
            conv(side, at, at, 2);
            side /= 2;
            skips.push_back(at);
        }
        block(side, at, at, sizes.middleDepth);
        block(side, at, at, 0);
        for (std::size_t level = levels; level-- > 0;) {
            for (int i = 0; i < 3; i++) {
                block(side, at + skips.back(), channels[level], sizes.depths[level]);
                skips.pop_back();
                at = channels[level];
            }
            if (level > 0) conv(side *= 2, at, at);
        }
        add("group norm", side, at, 0, [=] { return timeOfGroupNorm(side, at); });
        conv(side, at, 4);
    }
    const Step &step() const { return step_; }

private:
    void add(const std::string &group, int side, int in, double operations,
             const std::function<double()> &time, const std::string &suffix = "") {
        Operation &operation =
            step_[group][std::to_string(side) + "^2, " + std::to_string(in) + suffix];
        operation.operations = operations;
        operation.count++;
        operation.time = time;
    }
    void product(const std::string &group, int side, int in, int out, int kernel, int stride,
                 bool gated = false) {
        const double pixels = 1.0 * prompts * side * side / stride / stride;
        const auto time = [=] {
            return timeOfProduct(productOf(side, in, out, kernel, stride, gated));
        };
        add(group, side, in, 2 * pixels * in * out * kernel * kernel, time,
            " -> " + std::to_string(out));
    }
    void conv(int side, int in, int out, int stride = 1) {
        product("convolution 3x3", side, in, out, 3, stride);
    }
    void linear(int side, int in, int out) { product("linear", side, in, out, 1, 1); }
    void attention(int side, int channels, int keys) {
        const int tokens = side * side;
        const int heads = headWidth_ > 0 ? channels / headWidth_ : 8;
        add(
            "attention", side, channels, 4.0 * prompts * tokens * keys * channels,
            [=] { return timeOfAttention(heads, channels / heads, tokens, keys); },
            " x " + std::to_string(keys));
    }
    void groupNorm(int side, int channels) {
        add("group norm", side, channels, 0, [=] { return timeOfGroupNorm(side, channels); });
    }
    void layerNorm(int side, int channels) {
        add("layer norm", side, channels, 0,
            [=] { return timeOfLayerNorm(std::int64_t{prompts} * side * side, channels); });
    }
    void block(int side, int in, int out, int depth) {
        groupNorm(side, in);
        conv(side, in, out);
        groupNorm(side, out);
        conv(side, out, out);
        if (in != out) product("convolution 1x1", side, in, out, 1, 1);
        if (depth == 0) return;
        groupNorm(side, out);
        for (int i = 0; i < 2; i++) linear(side, out, out); // in, out
        for (int n = 0; n < depth; n++) {
            for (int i = 0; i < 6; i++) linear(side, out, out); // q, k, v, out, q, out
            for (int i = 0; i < 3; i++) layerNorm(side, out);
            attention(side, out, side * side);
            attention(side, out, 77);
            product("linear, gated", side, out, 8 * out, 1, 1, true);
            linear(side, 4 * out, out);
        }
    }

    int headWidth_;
    Step step_;
};

// ---------------------------------------------------------------------------------------------
// The machine

#if defined(__x86_64__) && defined(__GNUC__)
/// Multiplications of tiles and nothing else: what they multiply is always there.
__attribute__((target("amx-tile,amx-bf16"))) void multiplyTiles(int times) {
    struct alignas(64) Sizes {
        std::uint8_t palette = 1, start = 0, reserved[14] = {};
        std::uint16_t rowBytes[16] = {64, 64, 64, 64, 64, 64};
        std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16};
    };
    static constexpr Sizes sizes;
    _tile_loadconfig(&sizes);
    _tile_zero(4);
    _tile_zero(5);
    for (int i = 0; i < times; i++) {
        _tile_dpbf16ps(0, 4, 5);
        _tile_dpbf16ps(1, 4, 5);
        _tile_dpbf16ps(2, 4, 5);
        _tile_dpbf16ps(3, 4, 5);
    }
    _tile_release();
}

double ceilingOfTiles() {
    constexpr int times = 500000;
    const double time = timeOf([&](int) { multiplyTiles(times); });
    return 2.0 * threads * times * 4 * 16 * 16 * 32 / time;
}
#else
double ceilingOfTiles() { return 0; }
#endif

/// Operations per second of nothing but multiplying: of a product whose factors lie in the cache,
/// the best of some sizes (loops of the multiplying instruction alone are 1% faster). Tiles
/// multiply faster than any cache can bring factors, so there it is the loop.
double ceiling() {
    if (std::strcmp(kernels->name, "amx") == 0) return ceilingOfTiles();
    constexpr int rows = 56;
    double best = 0;
    for (const int depth : {128, 256, 512, 1024}) {
        Product p;
        p.width = p.outWidth = rows;
        p.height = p.outHeight = 1;
        p.shape = {depth,
                   kernels->panelWidth,
                   1,
                   false,
                   kernels->bf16Operands ? Storage::BF16 : Storage::F32,
                   {}};
        struct Own {
            Bytes x, weights, result, scratch;
        };
        std::vector<Own> own;
        for (int i = 0; i < threads; i++) {
            own.push_back({zeros(rows * depth, 4), zeros(packedBytes(*kernels, p.shape), 1),
                           zeros(rows * p.shape.out, 4), Bytes(kernels->productScratch(p) + 64)});
        }
        constexpr int times = 5000;
        const double time = timeOf([&](int part) {
            Own &mine = own[static_cast<std::size_t>(part)];
            Product q = p;
            q.x = aligned(mine.x);
            q.weights = aligned(mine.weights);
            q.result = aligned(mine.result);
            for (int i = 0; i < times; i++) kernels->product(q, aligned(mine.scratch), 0, 1);
        });
        best = std::max(best, 2.0 * threads * times * rows * depth * p.shape.out / time);
    }
    return best;
}

/// Bytes per second of copying what does not fit into the cache, read and written.
double copyRate() {
    const std::size_t size = std::size_t{256} << 20;
    Bytes from(size, 1), to(size);
    const double time = timeOf([&](int part) {
        const std::size_t each = size / static_cast<std::size_t>(threads);
        std::memcpy(&to[each * static_cast<std::size_t>(part)],
                    &from[each * static_cast<std::size_t>(part)], each);
    });
    return 2.0 * static_cast<double>(size) / time;
}

} // namespace

int main(int count, char **arguments) {
    threads = count > 1 ? std::max(1, std::atoi(arguments[1])) : 1;
    prompts = count > 2 ? std::max(1, std::atoi(arguments[2])) : 2;
    const char *cap = std::getenv("MAGICMIX_KERNELS");
    const std::string best = cap == nullptr ? "" : cap;
    const Kernels *f32 = chooseKernels(Storage::F32, best);
    const Kernels *chosen = count > 3 && std::strcmp(arguments[3], "best") != 0
                                ? kernelsNamed(arguments[3])
                                : chooseKernels(Storage::BF16, best);
    if (chosen == nullptr || f32 == nullptr) {
        std::fprintf(stderr, "no such kernels on this machine\n");
        return 1;
    }
    kernels = f32;
    const double f32Ceiling = ceiling();
    kernels = chosen;
    const double ownCeiling = ceiling();
    std::printf("{\n  \"kernels\": \"%s\", \"threads\": %d, \"prompts\": %d,\n", kernels->name,
                threads, prompts);
    std::printf("  \"ceilingGflops\": %.1f, \"f32CeilingGflops\": %.1f, \"copyGBs\": %.1f,\n",
                ownCeiling / 1e9, f32Ceiling / 1e9, copyRate() / 1e9);
    const int side = count > 4 ? std::max(8, std::atoi(arguments[4])) : 64; // of the latent
    const bool xl = count > 6 && std::strcmp(arguments[6], "sdxl") == 0;
    const UNetStep unet(xl ? kSdxl : kSd15, side);
    double work = 0;
    for (const auto &[group, shapes] : unet.step()) {
        for (const auto &[shape, operation] : shapes)
            work += operation.count * operation.operations;
    }
    std::printf("  \"gflop\": %.1f,\n  \"step\": {", work / 1e9);
    if (count > 5 && std::strcmp(arguments[5], "ceiling") == 0) {
        std::printf("}\n}\n");
        return 0;
    }
    const char *comma = "";
    for (const auto &[group, shapes] : unet.step()) {
        std::printf("%s\n    \"%s\": [", comma, group.c_str());
        comma = "";
        for (const auto &[shape, operation] : shapes) {
            const double time = operation.time();
            std::printf("%s\n      {\"shape\": \"%s\", \"count\": %d, \"ms\": %.3f, "
                        "\"gflops\": %.1f, \"gflop\": %.3f}",
                        comma, shape.c_str(), operation.count, 1e3 * time,
                        operation.operations / time / 1e9, operation.operations / 1e9);
            comma = ",";
        }
        std::printf("\n    ]");
        comma = ",";
    }
    std::printf("\n  }\n}\n");
    return 0;
}
