#include "model/tiny_decoder.h"

#include "base/error.h"
#include "base/text.h"
#include "model/names.h"

#include <cmath>

namespace magicmix {
namespace {

constexpr int kPictureChannels = 3;
constexpr std::size_t kLevels = 4; // three of which enlarge, to pixels of an eighth of a cell
constexpr int kMaxBlocks = 16;     // of a level
constexpr std::int64_t kMaxWidth = 1 << 12;

// Layers are counted as diffusers does: those without weights (ReLU, enlarging) count, too.
std::string layerName(int index) {
    return kTinyDecoderPrefix + ("layers." + std::to_string(index));
}

bool isBlock(const WeightSource &source, int index) {
    return source.hasAny(layerName(index) + ".conv.");
}

/// One length of a convolution's shape `[out, in, 3, 3]`.
int length(const WeightSource &source, const std::string &layer, std::size_t axis) {
    const std::string name = layer + ".weight";
    const auto shape = source.describe(name).shape; // throws if there is no such tensor
    if (shape.size() == 4 && shape[axis] >= 1 && shape[axis] <= kMaxWidth) {
        return static_cast<int>(shape[axis]);
    }
    throw Error("MODEL_FORMAT",
                "tensor '" + name + "' of the tiny decoder has shape " + shapeText(shape) +
                    "; expected 4 dimensions from 1 to " + std::to_string(kMaxWidth),
                {{"tensor", name}});
}

[[noreturn]] void unsupported(const std::string &problem) {
    throw Error("MODEL_UNSUPPORTED", "the tiny decoder " + problem);
}

void requireLatents(int channels) {
    if (channels == kLatentChannels) return;
    unsupported("takes latents of " + std::to_string(channels) +
                " channels, as TAESD3 and TAEF1 (16) and TAEF2 and TAESANA (32) do; Stable "
                "Diffusion 1.x and 2.x have " +
                std::to_string(kLatentChannels) +
                ": give one of their own, such as "
                "hf:madebyollin/taesd");
}

void requireSame(const char *key, const std::vector<int> &declared, const std::vector<int> &found) {
    if (declared.empty() || declared == found) return;
    throw Error("MODEL_FORMAT",
                std::string("the configuration of the tiny decoder says another ") + key +
                    " than its weights have",
                {{"key", std::string(key)}});
}

} // namespace

TinyDecoderConfig deduceTinyDecoder(const WeightSource &source,
                                    const ModelConfig::TinyDecoder &declared) {
    requireLatents(declared.latentChannels.value_or(kLatentChannels));
    requireLatents(length(source, layerName(0), 1));
    TinyDecoderConfig config;
    int channels = length(source, layerName(0), 0);
    int index = 2; // behind a ReLU
    for (bool last = false; !last;) {
        TinyDecoderConfig::Level level;
        level.channels = channels;
        for (; isBlock(source, index); index++) level.blocks++;
        if (level.blocks > kMaxBlocks || config.levels.size() == kLevels) {
            unsupported("has more layers than that of Stable Diffusion");
        }
        last = source.hasAny(layerName(index) + ".");
        if (!last) channels = length(source, layerName(index + 1), 0);
        index += 2;
        config.levels.push_back(level);
    }
    if (config.levels.size() != kLevels) {
        unsupported("enlarges " + std::to_string(1 << (config.levels.size() - 1)) +
                    "-fold; latents of Stable Diffusion are an eighth of the picture");
    }
    std::vector<int> widths, blocks;
    for (const auto &level : config.levels) {
        widths.push_back(level.channels);
        blocks.push_back(level.blocks);
    }
    requireSame("decoder_block_out_channels", declared.channels, widths);
    requireSame("num_decoder_blocks", declared.blocks, blocks);
    config.scalingFactor = declared.scalingFactor.value_or(1);
    if (!(config.scalingFactor > 0 && config.scalingFactor < 1e6)) {
        throw Error("MODEL_FORMAT",
                    "the scaling_factor of the tiny decoder must be a positive number");
    }
    return config;
}

TinyDecoder::TinyDecoder(Weights &weights, const TinyDecoderConfig &config)
    : scalingFactor_(config.scalingFactor) {
    in_ = declareConv(weights, layerName(0), kLatentChannels, config.levels.front().channels, 3);
    int index = 2;
    for (std::size_t l = 0; l < config.levels.size(); l++) {
        const int channels = config.levels[l].channels;
        Level level;
        for (int i = 0; i < config.levels[l].blocks; i++, index++) {
            Block block;
            for (int conv = 0; conv < 3; conv++) {
                const std::string name = layerName(index) + ".conv." + std::to_string(2 * conv);
                block.convs[conv] = declareConv(weights, name, channels, channels, 3);
            }
            level.blocks.push_back(block);
        }
        if (l + 1 < config.levels.size()) {
            level.out = declareConv(weights, layerName(index + 1), channels,
                                    config.levels[l + 1].channels, 3, Bias::No);
            index += 2;
        } else {
            level.out = declareConv(weights, layerName(index), channels, kPictureChannels, 3);
        }
        levels_.push_back(std::move(level));
    }
}

Latent TinyDecoder::clamped(const Latent &latent) const {
    constexpr float bound = 3;
    Latent z = latent;
    for (float &value : z) {
        value = bound * std::tanh(static_cast<float>(value / scalingFactor_) / bound);
    }
    return z;
}

Tensor TinyDecoder::decode(Ops &ops, Tensor latent) const {
    Tensor x = ops.relu(ops.conv2d(ops.fromPlanes(latent), in_));
    for (const Level &level : levels_) {
        for (const Block &each : level.blocks) x = block(ops, x, each);
        if (&level == &levels_.back()) {
            x = ops.conv2d(x, level.out);
        } else {
            const Size size = ops.sizeOf(x);
            x = ops.upsampleConv(x, {2 * size.width, 2 * size.height}, level.out);
        }
    }
    return ops.toPlanes(x);
}

Tensor TinyDecoder::block(Ops &ops, Tensor x, const Block &block) {
    Tensor h = ops.relu(ops.conv2d(x, block.convs[0]));
    h = ops.relu(ops.conv2d(h, block.convs[1]));
    Plus plus;
    plus.residual = x;
    return ops.relu(ops.conv2d(h, block.convs[2], plus));
}

} // namespace magicmix
