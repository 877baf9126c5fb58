#include "model/autoencoder.h"

#include "model/names.h"

namespace magicmix {
namespace {

constexpr float kNormEpsilon = 1e-6f;
constexpr int kPictureChannels = 3;

} // namespace

// ---------------------------------------------------------------------------------------------
// The parts and their names

Autoencoder::Autoencoder(Weights &weights, const AutoencoderConfig &config) : config_(config) {
    const std::string p = kVaePrefix;
    const std::string encoder = p + "encoder.", decoder = p + "decoder.";
    const int levels = static_cast<int>(config.channels.size());
    const int fine = config.channels.front(), coarse = config.channels.back();

    int channels = fine;
    encoderIn_ = declareConv(weights, encoder + "conv_in", kPictureChannels, fine, 3);
    for (int l = 0; l < levels; l++) {
        const std::string name = encoder + "down." + std::to_string(l);
        const int out = config.channels[static_cast<std::size_t>(l)];
        Level level;
        for (int i = 0; i < config.layers; i++) {
            level.blocks.push_back(
                declareResBlock(weights, name + ".block." + std::to_string(i), channels, out));
            channels = out;
        }
        if (l + 1 < levels) {
            level.resample = declareConv(weights, name + ".downsample.conv", channels, channels, 3);
        }
        down_.push_back(std::move(level));
    }
    encoderMiddle_ = declareMiddle(weights, encoder + "mid", coarse);
    encoderNorm_ = declareNorm(weights, encoder + "norm_out", coarse);
    encoderOut_ = declareConv(weights, encoder + "conv_out", coarse, 2 * kLatentChannels, 3);
    quant_ = declareConv(weights, p + "quant_conv", 2 * kLatentChannels, 2 * kLatentChannels, 1);

    postQuant_ = declareConv(weights, p + "post_quant_conv", kLatentChannels, kLatentChannels, 1);
    decoderIn_ = declareConv(weights, decoder + "conv_in", kLatentChannels, coarse, 3);
    decoderMiddle_ = declareMiddle(weights, decoder + "mid", coarse);
    channels = coarse;
    for (int l = levels - 1; l >= 0; l--) {
        const std::string name = decoder + "up." + std::to_string(l);
        const int out = config.channels[static_cast<std::size_t>(l)];
        Level level;
        for (int i = 0; i < config.layers + 1; i++) {
            level.blocks.push_back(
                declareResBlock(weights, name + ".block." + std::to_string(i), channels, out));
            channels = out;
        }
        if (l > 0) {
            level.resample = declareConv(weights, name + ".upsample.conv", channels, channels, 3);
        }
        up_.push_back(std::move(level));
    }
    decoderNorm_ = declareNorm(weights, decoder + "norm_out", fine);
    decoderOut_ = declareConv(weights, decoder + "conv_out", fine, kPictureChannels, 3);
}

Autoencoder::ResBlock Autoencoder::declareResBlock(Weights &weights, const std::string &name,
                                                   int in, int out) const {
    ResBlock block;
    block.norm1 = declareNorm(weights, name + ".norm1", in);
    block.conv1 = declareConv(weights, name + ".conv1", in, out, 3);
    block.norm2 = declareNorm(weights, name + ".norm2", out);
    block.conv2 = declareConv(weights, name + ".conv2", out, out, 3);
    if (in != out) block.skip = declareConv(weights, name + ".nin_shortcut", in, out, 1);
    return block;
}

Autoencoder::Middle Autoencoder::declareMiddle(Weights &weights, const std::string &name,
                                               int channels) const {
    const std::string a = name + ".attn_1";
    Middle middle;
    middle.block1 = declareResBlock(weights, name + ".block_1", channels, channels);
    middle.attention.norm = declareNorm(weights, a + ".norm", channels);
    middle.attention.q = declareLinear(weights, a + ".q", channels, channels);
    middle.attention.k = declareLinear(weights, a + ".k", channels, channels);
    middle.attention.v = declareLinear(weights, a + ".v", channels, channels);
    middle.attention.out = declareLinear(weights, a + ".proj_out", channels, channels);
    middle.block2 = declareResBlock(weights, name + ".block_2", channels, channels);
    return middle;
}

// ---------------------------------------------------------------------------------------------
// The computation

Tensor Autoencoder::encode(Ops &ops, Tensor picture) const {
    Tensor x = ops.conv2d(ops.fromPlanes(picture), encoderIn_);
    ops.stagePicture("conv_in", x);
    for (std::size_t l = 0; l < down_.size(); l++) {
        for (const auto &block : down_[l].blocks) x = resBlock(ops, x, block);
        if (down_[l].resample.weight) {
            x = ops.conv2d(x, down_[l].resample, {}, 2, Padding::RightBottom);
        }
        ops.stagePicture("down." + std::to_string(l), x);
    }
    x = middle(ops, x, encoderMiddle_);
    return ops.toPlanes(ops.conv2d(normConv(ops, x, encoderNorm_, encoderOut_), quant_));
}

Tensor Autoencoder::decode(Ops &ops, Tensor latent) const {
    Tensor x = ops.conv2d(ops.conv2d(ops.fromPlanes(latent), postQuant_), decoderIn_);
    ops.stagePicture("conv_in", x);
    x = middle(ops, x, decoderMiddle_);
    for (std::size_t l = 0; l < up_.size(); l++) {
        for (const auto &block : up_[l].blocks) x = resBlock(ops, x, block);
        if (up_[l].resample.weight) {
            const Size size = ops.sizeOf(x);
            x = ops.upsampleConv(x, {2 * size.width, 2 * size.height}, up_[l].resample,
                                 Keep::Factors);
        }
        ops.stagePicture("up." + std::to_string(up_.size() - 1 - l), x);
    }
    return ops.toPlanes(normConv(ops, x, decoderNorm_, decoderOut_));
}

// Most of the memory of a mix is here. So what only goes into a norm, and the skip, are rounded to
// what products take, and results lie where an input was that has been seen by all.
Tensor Autoencoder::resBlock(Ops &ops, Tensor x, const ResBlock &block) const {
    Tensor h = normConv(ops, x, block.norm1, block.conv1, {}, Keep::Factors);
    Plus plus;
    plus.residual = block.skip.weight ? ops.lastConv(x, block.skip, h) : x;
    plus.ofResidual = Input::Ends;
    return normConv(ops, h, block.norm2, block.conv2, plus);
}

Tensor Autoencoder::attention(Ops &ops, Tensor x, const Attention &a) const {
    Tensor y = ops.toSequence(ops.groupNorm(x, a.norm, config_.normGroups, kNormEpsilon));
    y = ops.attention(ops.linear(y, a.q), ops.linear(y, a.k), ops.linear(y, a.v), 1);
    return ops.addToPicture(x, y, a.out);
}

Tensor Autoencoder::middle(Ops &ops, Tensor x, const Middle &m) const {
    x = resBlock(ops, x, m.block1);
    ops.stagePicture("mid.block_1", x);
    x = attention(ops, x, m.attention);
    ops.stagePicture("mid.attn_1", x);
    x = resBlock(ops, x, m.block2);
    ops.stagePicture("mid.block_2", x);
    return x;
}

Tensor Autoencoder::normConv(Ops &ops, Tensor x, const Norm &norm, const Conv &layer,
                             const Plus &plus, Keep keep) const {
    return ops.normConv(x, norm, config_.normGroups, kNormEpsilon, layer, plus, keep);
}

} // namespace magicmix
