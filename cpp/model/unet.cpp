#include "model/unet.h"

#include "model/names.h"

#include <cmath>

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
            if (config.attention[at]) {
                level.transformers.push_back(
                    declareTransformer(weights, name + ".1", channels, config.heads[at]));
            }
            skips.push_back(channels);
        }
        if (l + 1 < levels) {
            level.resample =
                declareConv(weights, p + inputBlock(n++) + ".0.op", channels, channels, 3);
            skips.push_back(channels);
        }
        down_.push_back(std::move(level));
    }

    if (config.middle) {
        auto middle = std::make_unique<Middle>();
        middle->before = declareResBlock(weights, p + "middle_block.0", channels, channels);
        middle->transformer =
            declareTransformer(weights, p + "middle_block.1", channels, config.heads.back());
        middle->after = declareResBlock(weights, p + "middle_block.2", channels, channels);
        middle_ = std::move(middle);
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
            if (config.attention[at]) {
                level.transformers.push_back(
                    declareTransformer(weights, name + ".1", channels, config.heads[at]));
            }
        }
        if (l > 0) {
            const std::string place = config.attention[at] ? ".2.conv" : ".1.conv";
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

UNet::Transformer UNet::declareTransformer(Weights &weights, const std::string &name, int channels,
                                           int heads) {
    const auto attention = [&](const std::string &at, int contextWidth) {
        Attention a;
        a.q = declareLinear(weights, at + ".to_q", channels, channels, Bias::No);
        a.k = declareLinear(weights, at + ".to_k", contextWidth, channels, Bias::No);
        a.v = declareLinear(weights, at + ".to_v", contextWidth, channels, Bias::No);
        a.out = declareLinear(weights, at + ".to_out.0", channels, channels);
        return a;
    };
    const std::string block = name + ".transformer_blocks.0";
    Transformer t;
    t.norm = declareNorm(weights, name + ".norm", channels);
    t.in = declareLinear(weights, name + ".proj_in", channels, channels);
    t.norm1 = declareNorm(weights, block + ".norm1", channels);
    t.self = attention(block + ".attn1", channels);
    t.norm2 = declareNorm(weights, block + ".norm2", channels);
    t.cross = attention(block + ".attn2", config_.contextWidth);
    t.norm3 = declareNorm(weights, block + ".norm3", channels);
    t.feedIn = declareGated(weights, block + ".ff.net.0.proj", channels, 4 * channels);
    t.feedOut = declareLinear(weights, block + ".ff.net.2", 4 * channels, channels);
    t.out = declareLinear(weights, name + ".proj_out", channels, channels);
    t.heads = heads;
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

std::vector<Tensor> UNet::timeShifts(Ops &ops, Tensor features) const {
    Tensor time = ops.linear(ops.silu(ops.linear(features, time0_)), time2_);
    ops.stage("time_embed", time);
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
    if (!middle_) return x;
    x = resBlock(ops, x, inputs, middle_->before);
    x = transformer(ops, x, inputs, middle_->transformer);
    x = resBlock(ops, x, inputs, middle_->after);
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
    return level.transformers.empty() ? x : transformer(ops, x, inputs, level.transformers[i]);
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
    const KeysValues context = inputs.context(t.index);
    const auto addTo = [](Tensor residual) {
        Plus plus;
        plus.residual = residual;
        return plus;
    };
    Tensor y = ops.groupNorm(x, t.norm, config_.normGroups, kTransformerNormEpsilon);
    y = ops.linear(ops.toSequence(y), t.in);

    Tensor h = ops.layerNorm(y, t.norm1, kNormEpsilon);
    h = ops.attention(ops.linear(h, t.self.q), ops.linear(h, t.self.k), ops.linear(h, t.self.v),
                      t.heads);
    y = ops.linear(h, t.self.out, addTo(y));

    h = ops.layerNorm(y, t.norm2, kNormEpsilon);
    h = ops.attention(ops.linear(h, t.cross.q), context.keys, context.values, t.heads);
    y = ops.linear(h, t.cross.out, addTo(y));

    h = ops.layerNorm(y, t.norm3, kNormEpsilon);
    y = ops.linear(ops.gated(h, t.feedIn), t.feedOut, addTo(y));

    return ops.addToPicture(x, y, t.out);
}

std::vector<float> UNet::timestepFeatures(double timestep) const {
    // The products are rounded to float32 as PyTorch does: at t = 981 that is visible in the sines.
    // An odd number of features ends with a zero, as in diffusers.
    const int half = config_.channels.front() / 2;
    std::vector<float> features(static_cast<std::size_t>(config_.channels.front()));
    for (int k = 0; k < half; k++) {
        const float exponent = static_cast<float>(-std::log(10000.0)) * static_cast<float>(k) /
                               static_cast<float>(half);
        const float angle = static_cast<float>(timestep) * std::exp(exponent);
        features[static_cast<std::size_t>(k)] = std::cos(angle);
        features[static_cast<std::size_t>(half + k)] = std::sin(angle);
    }
    return features;
}

} // namespace magicmix
