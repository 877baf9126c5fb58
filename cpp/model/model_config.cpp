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

ModelConfig ModelConfig::overriddenBy(const ModelConfig &caller) const {
    ModelConfig config = *this;
    if (caller.unet.headWidth) config.unet.heads.clear(); // the two say the same thing
    override(config.unet.heads, caller.unet.heads);
    override(config.unet.headWidth, caller.unet.headWidth);
    override(config.unet.prediction, caller.unet.prediction);
    override(config.unet.normGroups, caller.unet.normGroups);
    override(config.unet.sampleSize, caller.unet.sampleSize);
    override(config.textEncoder.heads, caller.textEncoder.heads);
    override(config.textEncoder.activation, caller.textEncoder.activation);
    override(config.vae.normGroups, caller.vae.normGroups);
    override(config.vae.scalingFactor, caller.vae.scalingFactor);
    override(config.vae.latentRgb, caller.vae.latentRgb);
    override(config.schedule, caller.schedule);
    return config;
}

} // namespace magicmix
