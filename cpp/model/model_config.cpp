#include "model/model_config.h"

namespace magicmix {
namespace {

template <typename T>
void override(std::optional<T> &value, const std::optional<T> &wanted) {
    if (wanted) value = wanted;
}

template <typename T>
void override(std::vector<T> &values, const std::vector<T> &wanted) {
    if (!wanted.empty()) values = wanted;
}

} // namespace

ModelConfig::Vae ModelConfig::Vae::overriddenBy(const Vae &other) const {
    Vae config = *this;
    override(config.normGroups, other.normGroups);
    override(config.scalingFactor, other.scalingFactor);
    override(config.latentRgb, other.latentRgb);
    override(config.channels, other.channels);
    override(config.layers, other.layers);
    return config;
}

ModelConfig::TextEncoder ModelConfig::TextEncoder::overriddenBy(const TextEncoder &other) const {
    TextEncoder config = *this;
    override(config.heads, other.heads);
    override(config.layers, other.layers);
    override(config.activation, other.activation);
    override(config.padding, other.padding);
    return config;
}

ModelConfig ModelConfig::overriddenBy(const ModelConfig &caller) const {
    ModelConfig config = *this;
    if (caller.unet.headWidth) config.unet.heads.clear(); // the two say the same thing
    override(config.unet.heads, caller.unet.heads);
    override(config.unet.headWidth, caller.unet.headWidth);
    override(config.unet.prediction, caller.unet.prediction);
    override(config.unet.normGroups, caller.unet.normGroups);
    override(config.unet.sampleSize, caller.unet.sampleSize);
    override(config.unet.channels, caller.unet.channels);
    override(config.unet.layers, caller.unet.layers);
    override(config.unet.contextWidth, caller.unet.contextWidth);
    override(config.unet.addedWidth, caller.unet.addedWidth);
    override(config.unet.middleResBlocks, caller.unet.middleResBlocks);
    override(config.unet.depthsDown, caller.unet.depthsDown);
    override(config.unet.depthsUp, caller.unet.depthsUp);
    config.textEncoder = config.textEncoder.overriddenBy(caller.textEncoder);
    config.textEncoder2 = config.textEncoder2.overriddenBy(caller.textEncoder2);
    override(config.tokenizer.padding, caller.tokenizer.padding);
    override(config.tokenizer.added, caller.tokenizer.added);
    config.vae = config.vae.overriddenBy(caller.vae);
    override(config.zerosForEmptyPrompt, caller.zerosForEmptyPrompt);
    override(config.schedule, caller.schedule);
    return config;
}

} // namespace magicmix
