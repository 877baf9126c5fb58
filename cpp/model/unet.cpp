#include "model/unet.h"

#include "model/added_conditioning.h"
#include "model/names.h"

namespace magicmix {
namespace {

constexpr float kNormEpsilon = 1e-5f;
constexpr float kTransformerNormEpsilon = 1e-6f;

std::string inputBlock(int n) { return "input_blocks." + std::to_string(n); }
std::string outputBlock(int n) { return "output_blocks." + std::to_string(n); }

} // namespace

// ---------------------------------------------------------------------------------------------
// The parts and their names

UNet::UNet(Weights &weights, const UNetConfig &config) : config_(config) {
    const std::string p = kUnetPrefix;
    const int levels = static_cast<int>(config.channels.size());
    const int base = config.channels.front();
    time0_ = declareLinear(weights, p + "time_embed.0", base, 4 * base);
    time2_ = declareLinear(weights, p + "time_embed.2", 4 * base, 4 * base);
    if (config.addedWidth > 0) {
        added0_ = declareLinear(weights, p + "label_emb.0.0", config.addedWidth, 4 * base);
        added2_ = declareLinear(weights, p + "label_emb.0.2", 4 * base, 4 * base);
    }
    in_ = declareConv(weights, p + "input_blocks.0.0", kLatentChannels, base, 3);

    // Every input block leaves its output for an output block.
    std::vector<int> skips{base};
    int channels = base;
    int n = 1;
    for (int l = 0; l < levels; l++) {
        const auto at = static_cast<std::size_t>(l);
        Level level;
        for (int i = 0; i < config.layers; i++, n++) {
            const std::string name = p + inputBlock(n);
            level.resBlocks.push_back(
                declareResBlock(weights, name + ".0", channels, config.channels[at]));
            channels = config.channels[at];
            const int depth = config.depthsDown[at][static_cast<std::size_t>(i)];
            level.transformers.push_back(
                declareTransformer(weights, name + ".1", channels, config.heads[at], depth));
            skips.push_back(channels);
        }
        if (l + 1 < levels) {
            level.resample =
                declareConv(weights, p + inputBlock(n++) + ".0.op", channels, channels, 3);
            skips.push_back(channels);
        }
        down_.push_back(std::move(level));
    }

    crossesOfWayDown_ = crossWeights_.size();

    if (config.middleResBlocks > 0) {
        middle_.before = declareResBlock(weights, p + "middle_block.0", channels, channels);
    }
    if (config.middleResBlocks > 1) {
        middle_.transformer = declareTransformer(weights, p + "middle_block.1", channels,
                                                 config.heads.back(), config.middleDepth);
        middle_.after = declareResBlock(weights, p + "middle_block.2", channels, channels);
    }

    n = 0;
    for (int l = levels - 1; l >= 0; l--) {
        const auto at = static_cast<std::size_t>(l);
        Level level;
        for (int i = 0; i < config.layers + 1; i++, n++) {
            const std::string name = p + outputBlock(n);
            level.resBlocks.push_back(declareResBlock(weights, name + ".0", channels + skips.back(),
                                                      config.channels[at]));
            skips.pop_back();
            channels = config.channels[at];
            const int depth = config.depthsUp[at][static_cast<std::size_t>(i)];
            level.transformers.push_back(
                declareTransformer(weights, name + ".1", channels, config.heads[at], depth));
        }
        if (l > 0) {
            const std::string place = level.transformers.back() ? ".2.conv" : ".1.conv";
            level.resample =
                declareConv(weights, p + outputBlock(n - 1) + place, channels, channels, 3);
        }
        up_.push_back(std::move(level));
    }
    outNorm_ = declareNorm(weights, p + "out.0", channels);
    out_ = declareConv(weights, p + "out.2", channels, kLatentChannels, 3);
}

UNet::ResBlock UNet::declareResBlock(Weights &weights, const std::string &name, int in, int out) {
    ResBlock block;
    block.norm1 = declareNorm(weights, name + ".in_layers.0", in);
    block.conv1 = declareConv(weights, name + ".in_layers.2", in, out, 3);
    block.index = timeWeights_.size();
    timeWeights_.push_back(
        declareLinear(weights, name + ".emb_layers.1", 4 * config_.channels.front(), out));
    timeWidths_.push_back(out);
    block.norm2 = declareNorm(weights, name + ".out_layers.0", out);
    block.conv2 = declareConv(weights, name + ".out_layers.3", out, out, 3);
    if (in != out) block.skip = declareConv(weights, name + ".skip_connection", in, out, 1);
    return block;
}

std::optional<UNet::Transformer> UNet::declareTransformer(Weights &weights, const std::string &name,
                                                          int channels, int heads, int depth) {
    if (depth == 0) return std::nullopt;
    Transformer t;
    t.norm = declareNorm(weights, name + ".norm", channels);
    t.in = declareLinear(weights, name + ".proj_in", channels, channels);
    for (int i = 0; i < depth; i++) {
        const std::string block = name + ".transformer_blocks." + std::to_string(i);
        t.blocks.push_back(declareTransformerBlock(weights, block, channels));
    }
    t.out = declareLinear(weights, name + ".proj_out", channels, channels);
    t.heads = heads;
    return t;
}

UNet::TransformerBlock UNet::declareTransformerBlock(Weights &weights, const std::string &block,
                                                     int channels) {
    const auto attention = [&](const std::string &at, int contextWidth) {
        Attention a;
        a.q = declareLinear(weights, at + ".to_q", channels, channels, Bias::No);
        a.k = declareLinear(weights, at + ".to_k", contextWidth, channels, Bias::No);
        a.v = declareLinear(weights, at + ".to_v", contextWidth, channels, Bias::No);
        a.out = declareLinear(weights, at + ".to_out.0", channels, channels);
        return a;
    };
    TransformerBlock t;
    t.norm1 = declareNorm(weights, block + ".norm1", channels);
    t.self = attention(block + ".attn1", channels);
    t.norm2 = declareNorm(weights, block + ".norm2", channels);
    t.cross = attention(block + ".attn2", config_.contextWidth);
    t.norm3 = declareNorm(weights, block + ".norm3", channels);
    t.feedIn = declareGated(weights, block + ".ff.net.0.proj", channels, 4 * channels);
    t.feedOut = declareLinear(weights, block + ".ff.net.2", 4 * channels, channels);
    t.index = crossWeights_.size();
    crossWeights_.push_back(t.cross);
    crossWidths_.push_back(channels);
    return t;
}

// ---------------------------------------------------------------------------------------------
// The computation

std::vector<KeysValues> UNet::context(Ops &ops, Tensor textStates) const {
    std::vector<KeysValues> all;
    for (const auto &weights : crossWeights_) {
        all.push_back({ops.linear(textStates, weights.k), ops.linear(textStates, weights.v)});
    }
    return all;
}

std::vector<Tensor> UNet::timeShifts(Ops &ops, Tensor features, Tensor added) const {
    Tensor time = ops.linear(ops.silu(ops.linear(features, time0_)), time2_);
    ops.stage("time_embed", time);
    if (added) {
        added = ops.linear(ops.silu(ops.linear(added, added0_)), added2_);
        ops.stage("label_emb", added);
        time = ops.add(time, added);
    }
    time = ops.silu(time);
    std::vector<Tensor> shifts;
    for (const auto &weights : timeWeights_) shifts.push_back(ops.linear(time, weights));
    return shifts;
}

UNet::Prediction UNet::predict(Ops &ops, Tensor latents, UNetInputs &inputs,
                               int outerBlocks) const {
    const int outer = upBlocks() - outerBlocks;
    std::vector<Tensor> skips = wayDown(ops, latents, inputs, upBlocks());
    Tensor x = throughMiddle(ops, skips.back(), inputs);
    Tensor features = wayUp(ops, x, skips, inputs, 0, outer);
    x = wayUp(ops, features, skips, inputs, outer, upBlocks());
    return {noiseOf(ops, x), features};
}

Tensor UNet::predictOuter(Ops &ops, Tensor latents, UNetInputs &inputs, int outerBlocks,
                          Tensor features) const {
    std::vector<Tensor> skips = wayDown(ops, latents, inputs, outerBlocks);
    return noiseOf(ops, wayUp(ops, features, skips, inputs, upBlocks() - outerBlocks, upBlocks()));
}

int UNet::upBlocks() const {
    return static_cast<int>(config_.channels.size()) * (config_.layers + 1);
}

/// The outputs of the first `count` input blocks.
std::vector<Tensor> UNet::wayDown(Ops &ops, Tensor latents, UNetInputs &inputs, int count) const {
    Tensor x = ops.conv2d(ops.fromPlanes(latents), in_);
    std::vector<Tensor> skips;
    const auto keep = [&](Tensor tensor) {
        ops.stagePicture(inputBlock(static_cast<int>(skips.size())), tensor);
        skips.push_back(tensor);
    };
    const auto isDone = [&] { return static_cast<int>(skips.size()) == count; };
    keep(x);
    for (const Level &level : down_) {
        for (std::size_t i = 0; i < level.resBlocks.size() && !isDone(); i++) {
            x = block(ops, x, inputs, level, i);
            keep(x);
        }
        if (level.resample.weight && !isDone()) {
            x = ops.conv2d(x, level.resample, {}, 2);
            keep(x);
        }
    }
    return skips;
}

Tensor UNet::throughMiddle(Ops &ops, Tensor x, UNetInputs &inputs) const {
    if (!middle_.before) return x;
    x = resBlock(ops, x, inputs, *middle_.before);
    if (middle_.transformer) x = transformer(ops, x, inputs, *middle_.transformer);
    if (middle_.after) x = resBlock(ops, x, inputs, *middle_.after);
    ops.stagePicture("middle_block", x);
    return x;
}

/// Output blocks `from` to before `to`; they take the last of `skips`.
Tensor UNet::wayUp(Ops &ops, Tensor x, std::vector<Tensor> &skips, UNetInputs &inputs, int from,
                   int to) const {
    const int blocksOfLevel = config_.layers + 1;
    for (int n = from; n < to; n++) {
        const Level &level = up_[static_cast<std::size_t>(n / blocksOfLevel)];
        const int i = n % blocksOfLevel;
        x = block(ops, ops.concatChannels(x, skips.back()), inputs, level,
                  static_cast<std::size_t>(i));
        skips.pop_back();
        if (i + 1 == blocksOfLevel && level.resample.weight) {
            // Sizes that were odd on the way down come back as they were.
            x = ops.upsampleConv(x, ops.sizeOf(skips.back()), level.resample);
        }
        ops.stagePicture(outputBlock(n), x);
    }
    return x;
}

Tensor UNet::noiseOf(Ops &ops, Tensor x) const {
    x = ops.groupNorm(x, outNorm_, config_.normGroups, kNormEpsilon, Activation::Silu);
    return ops.toPlanes(ops.conv2d(x, out_));
}

Tensor UNet::block(Ops &ops, Tensor x, UNetInputs &inputs, const Level &level,
                   std::size_t i) const {
    x = resBlock(ops, x, inputs, level.resBlocks[i]);
    return level.transformers[i] ? transformer(ops, x, inputs, *level.transformers[i]) : x;
}

Tensor UNet::resBlock(Ops &ops, Tensor x, UNetInputs &inputs, const ResBlock &block) const {
    const auto normSilu = [&](Tensor y, const Norm &norm) {
        return ops.groupNorm(y, norm, config_.normGroups, kNormEpsilon, Activation::Silu);
    };
    Plus plusTime, plusSkip;
    plusTime.toChannels = inputs.timeShift(block.index);
    Tensor h = ops.conv2d(normSilu(x, block.norm1), block.conv1, plusTime);
    plusSkip.residual = block.skip.weight ? ops.conv2d(x, block.skip) : x;
    return ops.conv2d(normSilu(h, block.norm2), block.conv2, plusSkip);
}

Tensor UNet::transformer(Ops &ops, Tensor x, UNetInputs &inputs, const Transformer &t) const {
    Tensor y = ops.groupNorm(x, t.norm, config_.normGroups, kTransformerNormEpsilon);
    y = ops.linear(ops.toSequence(y), t.in);
    for (const TransformerBlock &each : t.blocks) {
        y = transformerBlock(ops, y, inputs, each, t.heads);
    }
    return ops.addToPicture(x, y, t.out);
}

Tensor UNet::transformerBlock(Ops &ops, Tensor y, UNetInputs &inputs, const TransformerBlock &t,
                              int heads) const {
    const KeysValues context = inputs.context(t.index);
    const auto addTo = [](Tensor residual) {
        Plus plus;
        plus.residual = residual;
        return plus;
    };
    Tensor h = ops.layerNorm(y, t.norm1, kNormEpsilon);
    h = ops.attention(ops.linear(h, t.self.q), ops.linear(h, t.self.k), ops.linear(h, t.self.v),
                      heads);
    y = ops.linear(h, t.self.out, addTo(y));

    h = ops.layerNorm(y, t.norm2, kNormEpsilon);
    h = ops.attention(ops.linear(h, t.cross.q), context.keys, context.values, heads);
    y = ops.linear(h, t.cross.out, addTo(y));

    h = ops.layerNorm(y, t.norm3, kNormEpsilon);
    return ops.linear(ops.gated(h, t.feedIn), t.feedOut, addTo(y));
}

std::vector<float> UNet::timestepFeatures(double timestep) const {
    return sinusoids(timestep, config_.channels.front());
}

} // namespace magicmix
