#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

/// CPU code for what a network spends its time in, once for every instruction set. It knows
/// neither ggml nor networks: plain pointers and sizes go in. Every function does the share `part`
/// of `parts` of the work, so that any number of threads can call it at once.
///
/// Pictures lie channels-last: `[images, height, width, channels]`. Factors of matrix products are
/// *operands*: bf16 where the instruction set multiplies those (`Kernels::bf16Operands`), else f32.
/// Rows of operands are padded with zeros, see `operandStride`.
namespace magicmix::kernels {

enum class Storage { F32, F16, BF16, Q8, Blocks };

/// How a file keeps quantised weights: `values` of them, which share factors, in `bytes` bytes.
struct BlockFormat {
    int values = 1, bytes = 4;
    void (*unpack)(const void *blocks, float *values, std::int64_t count) = nullptr;
};

/// Inputs per Q8 block: they share one factor.
constexpr int kQ8Block = 32;

/// A matrix of weights or the kernels of a convolution, and how it lies in memory once packed:
/// panels of `Kernels::panelWidth` output channels, a panel being `[taps][in][panelWidth]`, in bf16
/// `[taps][in / 2][panelWidth][2]`. In Q8 it is `[taps][in / 32]` blocks of f16 factors
/// `[panelWidth]` and signed bytes `[32][panelWidth]`, as in ggml's q8_0. Missing channels are
/// zeros. Weights in Blocks are not packed but as files have them, `[out][in][taps]`, every output
/// channel in whole blocks.
struct WeightShape {
    int in = 0, out = 0;
    int taps = 1; ///< height times width of the kernel
    /// The second half of the outputs are gates of the first: a panel holds as many of each.
    bool gated = false;
    Storage storage = Storage::F32;
    BlockFormat blocks; ///< of Blocks
};

/// A convolution, or with one tap and one row of pixels a matrix product.
struct Product {
    const void *x = nullptr; ///< operand `[images, height, width, in]`
    int images = 1, height = 1, width = 0;
    int outHeight = 1, outWidth = 0;
    int kernel = 1, stride = 1, padding = 0; ///< zeros above and to the left
    /// Rows of x above its first that stand where the upper zeros would: x is a band of a picture.
    int rowsAbove = 0;
    /// 2 doubles the picture by repeating pixels; what is convolved is the top left part that
    /// `outHeight` and `outWidth` say.
    int magnify = 1;

    WeightShape shape;
    const void *weights = nullptr;  ///< packed
    const float *bias = nullptr;    ///< `[out]`, or null
    const float *bias2 = nullptr;   ///< `[out]`, added as well, or null
    bool bias2PerImage = false;     ///< it is `[images, out]`
    const void *residual = nullptr; ///< like the result, f32 or operand; added, or null
    bool operandResidual = false;
    /// f32 `[images, outHeight, outWidth, out]`; if gated an operand of `out / 2` channels, with
    /// a gelu(b) for the halves a, b.
    void *result = nullptr;
    bool operandResult = false; ///< the result is an operand instead
};

/// softmax(q k^T / sqrt(width)) v for every head of every image.
struct Attention {
    const float *queries = nullptr; ///< `[images, queryCount, heads, width]`
    const void *keys = nullptr;     ///< packed by `packKeys`
    const void *values = nullptr;   ///< packed by `packValues`
    int images = 1, heads = 1, width = 0, queryCount = 0, keyCount = 0;
    bool causal = false;    ///< a query sees the keys up to its own index
    void *result = nullptr; ///< operand `[images, queryCount, heads * width]`
};

/// Statistics are summed over so many slices of the pixels, however many threads there are: the
/// result must not depend on their number.
constexpr int kNormSlices = 16;

struct GroupNorm {
    const void *x = nullptr; ///< `[images, pixels, channels]`, f32 or operand
    bool operandX = false;
    int images = 1, pixels = 0, channels = 0, groups = 1;
    float epsilon = 0;
    const float *scale = nullptr, *shift = nullptr; ///< `[channels]`
    bool silu = false;
    float *statistics = nullptr; ///< `[kNormSlices, images, 1 + 2 channels]`
    void *result = nullptr;      ///< operand like x
};

struct LayerNorm {
    const float *x = nullptr; ///< `[rows, channels]`
    std::int64_t rows = 0;
    int channels = 0;
    float epsilon = 0;
    const float *scale = nullptr, *shift = nullptr;
    void *result = nullptr; ///< operand like x
};

struct Kernels {
    const char *name; ///< "amx", "avx512bf16", "avx512", "avx2", "neon", "portable"
    bool bf16Operands;
    int padding;    ///< rows of operands, and the inputs of packed bf16, are multiples of that
    int panelWidth; ///< output channels that are computed together
    int lanes;      ///< values in a vector; half of that

    /// Bytes of memory that each thread brings: `scratch` below.
    std::size_t (*productScratch)(const Product &product);
    std::size_t (*attentionScratch)(const Attention &attention);
    std::size_t (*normScratch)(const GroupNorm &norm);

    void (*product)(const Product &product, void *scratch, int part, int parts);
    void (*packKeys)(const Attention &sizes, const float *keys, void *packed, int part, int parts);
    void (*packValues)(const Attention &sizes, const float *values, void *packed, int part,
                       int parts);
    void (*attention)(const Attention &attention, void *scratch, int part, int parts);
    /// Mean and deviation of channels; the first half of a group norm.
    void (*groupStatistics)(const GroupNorm &norm, int part, int parts);
    /// The second half, after all parts of the first.
    void (*groupNormalise)(const GroupNorm &norm, void *scratch, int part, int parts);
    void (*layerNorm)(const LayerNorm &norm, int part, int parts);
    /// f32 `[rows, channels]` to an operand.
    void (*toOperand)(const float *x, std::int64_t rows, int channels, void *operand, int part,
                      int parts);
};

/// The fastest for this machine and for weights of that storage. bf16 operands are for bf16 only:
/// f32 and f16 promise more digits, and q8_0 has none to spare. `best` names the best one allowed,
/// or with "off" gives null: ggml's own operations; empty is no limit. A name that is unknown or
/// not for this machine throws `INVALID_ARGUMENT` with those that are.
const Kernels *chooseKernels(Storage storage, const std::string &best);

/// Whether they multiply bf16 faster than others multiply f32. Intel's vectors do not, its tiles
/// do.
bool isFastInBf16(const Kernels &kernels);

/// The kernels of that name, or null if this machine cannot run them.
const Kernels *kernelsNamed(const std::string &name);

// ---------------------------------------------------------------------------------------------
// Sizes

/// Values from one row of an operand to the next.
inline int operandStride(const Kernels &kernels, int channels) {
    return (channels + kernels.padding - 1) / kernels.padding * kernels.padding;
}
inline std::size_t operandSize(const Kernels &kernels) { return kernels.bf16Operands ? 2 : 4; }

/// Inputs of packed weights, padding included but for that of the kernels.
constexpr int paddedInputs(const WeightShape &shape) {
    switch (shape.storage) {
    case Storage::BF16: return (shape.in + 1) / 2 * 2;
    case Storage::Q8: return (shape.in + kQ8Block - 1) / kQ8Block * kQ8Block;
    default: return shape.in;
    }
}
/// Bytes of so many packed weights.
constexpr std::int64_t packedBytes(Storage storage, std::int64_t count) {
    switch (storage) {
    case Storage::F32: return 4 * count;
    case Storage::Q8: return count + count / kQ8Block * 2;
    default: return 2 * count;
    }
}
/// Bytes of an output channel in Blocks.
static constexpr std::int64_t rowBytes(const WeightShape &shape) {
    return std::int64_t{shape.in} * shape.taps / shape.blocks.values * shape.blocks.bytes;
}
/// The output channel of a column of a panel, or -1 if there is none.
static constexpr int channelInPanel(const WeightShape &shape, int lanes, int panel, int column) {
    if (!shape.gated) {
        const int channel = panel * 2 * lanes + column;
        return channel < shape.out ? channel : -1;
    }
    const int channel = panel * lanes + column % lanes;
    if (channel >= shape.out / 2) return -1;
    return column < lanes ? channel : shape.out / 2 + channel;
}
/// Bytes of all packed weights, padding included.
std::int64_t packedBytes(const Kernels &kernels, const WeightShape &shape);
/// Values of packed keys, and of packed values, of all images and heads.
std::int64_t packedKeysCount(const Kernels &kernels, const Attention &sizes);
std::int64_t packedValuesCount(const Kernels &kernels, const Attention &sizes);

/// Puts weights where `Kernels::product` wants them, one panel after the other.
class WeightPacker {
public:
    WeightPacker(const Kernels &kernels, const WeightShape &shape)
        : kernels_(kernels), shape_(shape) {}
    int panels() const;
    std::int64_t panelBytes() const;
    /// The output channel of a column of a panel, or -1 if there is none.
    int channelOf(int panel, int column) const;
    /// Packs the panel with the columns `channels [panelWidth, in, taps]`. `T` is float for f32 and
    /// Q8, std::uint16_t for the halves.
    template <typename T>
    void pack(const T *channels, void *panel) const;

private:
    int paddedInputs() const;
    void packQ8(const float *channels, std::byte *panel) const;

    const Kernels &kernels_;
    WeightShape shape_;
};

} // namespace magicmix::kernels
