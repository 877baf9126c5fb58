// Speed of single kernels, by the shapes that Stable Diffusion 1.x has at 512 x 512 with guidance.
//
//     shapes [threads] [kernels]

#include "kernels/kernels.h"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <thread>
#include <vector>

using namespace magicmix::kernels;

namespace {

using Bytes = std::vector<unsigned char>;

const Kernels *kernels = nullptr;
int threads = 1;

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

void print(const std::string &what, double operations, double time) {
    std::printf("%-44s %8.2f ms %8.1f GFLOP/s\n", what.c_str(), 1e3 * time,
                operations / time / 1e9);
}

Bytes zeros(std::int64_t count, std::size_t size) {
    return Bytes(static_cast<std::size_t>(count) * size + 64);
}

void *aligned(Bytes &bytes) {
    const auto address = reinterpret_cast<std::uintptr_t>(bytes.data());
    return bytes.data() + (64 - address % 64) % 64;
}

std::vector<Bytes> scratchFor(std::size_t size) {
    return std::vector<Bytes>(static_cast<std::size_t>(threads), Bytes(size + 64));
}

void product(int images, int side, int in, int out, int kernel, bool gated = false) {
    Product p;
    p.images = images;
    p.width = p.outWidth = kernel == 1 ? side * side : side;
    p.height = p.outHeight = kernel == 1 ? 1 : side;
    p.kernel = kernel;
    p.padding = kernel / 2;
    p.shape = {in, out, kernel * kernel, gated,
               kernels->bf16Operands ? Storage::BF16 : Storage::F32};
    const std::int64_t pixels = std::int64_t{images} * side * side;
    Bytes x = zeros(pixels * operandStride(*kernels, in), operandSize(*kernels));
    Bytes weights = zeros(packedBytes(*kernels, p.shape), 1);
    Bytes result = zeros(pixels * out, 4);
    p.x = aligned(x);
    p.weights = aligned(weights);
    p.result = aligned(result);
    auto scratch = scratchFor(kernels->productScratch(p));
    const double time = timeOf([&](int part) {
        kernels->product(p, aligned(scratch[static_cast<std::size_t>(part)]), part, threads);
    });
    print((kernel == 1 ? gated ? "gated linear " : "linear " : "conv 3x3 ") +
              std::to_string(images) + " x " + std::to_string(side) + "^2, " + std::to_string(in) +
              " -> " + std::to_string(out),
          2.0 * static_cast<double>(pixels) * in * out * kernel * kernel, time);
}

void attention(int images, int heads, int width, int queries, int keys) {
    Attention a;
    a.images = images;
    a.heads = heads;
    a.width = width;
    a.queryCount = queries;
    a.keyCount = keys;
    Bytes packedKeys = zeros(packedKeysCount(*kernels, a), operandSize(*kernels));
    Bytes packedValues = zeros(packedValuesCount(*kernels, a), operandSize(*kernels));
    Bytes q = zeros(std::int64_t{images} * queries * heads * width, 4);
    Bytes result =
        zeros(std::int64_t{images} * queries * operandStride(*kernels, heads * width), 4);
    a.queries = static_cast<const float *>(aligned(q));
    a.keys = aligned(packedKeys);
    a.values = aligned(packedValues);
    a.result = aligned(result);
    auto scratch = scratchFor(kernels->attentionScratch(a));
    const double time = timeOf([&](int part) {
        kernels->attention(a, aligned(scratch[static_cast<std::size_t>(part)]), part, threads);
    });
    print("attention " + std::to_string(images * heads) + " heads of " + std::to_string(width) +
              ", " + std::to_string(queries) + " x " + std::to_string(keys),
          4.0 * images * heads * static_cast<double>(queries) * keys * width, time);
}

void groupNorm(int images, int side, int channels) {
    GroupNorm norm;
    norm.images = images;
    norm.pixels = side * side;
    norm.channels = channels;
    norm.groups = 32;
    norm.silu = true;
    const std::int64_t count = std::int64_t{images} * norm.pixels * channels;
    Bytes x = zeros(count, 4), result = zeros(count, 4), factors = zeros(2 * channels, 4);
    Bytes statistics = zeros(std::int64_t{kNormSlices} * images * (1 + 2 * channels), 4);
    norm.x = static_cast<const float *>(aligned(x));
    norm.result = aligned(result);
    norm.scale = norm.shift = static_cast<const float *>(aligned(factors));
    norm.statistics = static_cast<float *>(aligned(statistics));
    auto scratch = scratchFor(kernels->normScratch(norm));
    const double first = timeOf([&](int part) { kernels->groupStatistics(norm, part, threads); });
    const double second = timeOf([&](int part) {
        kernels->groupNormalise(norm, aligned(scratch[static_cast<std::size_t>(part)]), part,
                                threads);
    });
    print("group norm " + std::to_string(images) + " x " + std::to_string(side) + "^2, " +
              std::to_string(channels),
          0, first + second);
}

} // namespace

int main(int count, char **arguments) {
    threads = count > 1 ? std::max(1, std::atoi(arguments[1])) : 1;
    kernels = count > 2 ? kernelsNamed(arguments[2]) : chooseKernels(Storage::BF16);
    if (kernels == nullptr) {
        std::fprintf(stderr, "no such kernels on this machine\n");
        return 1;
    }
    std::printf("%s, %d threads\n", kernels->name, threads);
    product(2, 64, 320, 320, 3);
    product(2, 64, 960, 320, 3);
    product(2, 32, 640, 640, 3);
    product(2, 16, 1280, 1280, 3);
    product(2, 16, 2560, 1280, 3);
    product(2, 8, 1280, 1280, 3);
    product(2, 8, 2560, 1280, 3);
    product(1, 512, 128, 128, 3);
    product(2, 64, 320, 320, 1);
    product(2, 64, 320, 2560, 1, true);
    product(2, 64, 1280, 320, 1);
    product(2, 16, 1280, 1280, 1);
    attention(2, 8, 40, 4096, 4096);
    attention(2, 8, 40, 4096, 77);
    attention(2, 8, 80, 1024, 1024);
    attention(2, 8, 160, 256, 256);
    attention(1, 1, 512, 4096, 4096);
    groupNorm(2, 64, 320);
    groupNorm(2, 64, 960);
    return 0;
}
