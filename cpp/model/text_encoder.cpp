#include "model/text_encoder.h"

#include "base/tokens.h"

namespace magicmix {
namespace {

constexpr float kEpsilon = 1e-5f;

} // namespace

TextEncoder::TextEncoder(Weights &weights, const TextEncoderConfig &config) : config_(config) {
    const std::string &p = config.prefix;
    const int width = config.width;
    tokenEmbedding_ =
        weights.table(p + "embeddings.token_embedding.weight", config.vocabulary, width);
    positionEmbedding_ =
        weights.table(p + "embeddings.position_embedding.weight", kContextLength, width);
    const bool pooled = config.pooledWidth > 0;
    for (int i = 0; i < (pooled ? config.layers : config.statesAfter); i++) {
        const std::string l = p + "encoder.layers." + std::to_string(i) + ".";
        Layer layer;
        layer.norm1 = declareNorm(weights, l + "layer_norm1", width);
        layer.q = declareLinear(weights, l + "self_attn.q_proj", width, width);
        layer.k = declareLinear(weights, l + "self_attn.k_proj", width, width);
        layer.v = declareLinear(weights, l + "self_attn.v_proj", width, width);
        layer.out = declareLinear(weights, l + "self_attn.out_proj", width, width);
        layer.norm2 = declareNorm(weights, l + "layer_norm2", width);
        layer.fc1 = declareLinear(weights, l + "mlp.fc1", width, config.hidden);
        layer.fc2 = declareLinear(weights, l + "mlp.fc2", config.hidden, width);
        layers_.push_back(layer);
    }
    if (config.normedStates || pooled) {
        finalNorm_ = declareNorm(weights, p + "final_layer_norm", width);
    }
    if (pooled) {
        const std::string around = p.substr(0, p.rfind("text_model."));
        projection_ =
            declareLinear(weights, around + "text_projection", width, config.pooledWidth, Bias::No);
    }
}

TextEncoder::Output TextEncoder::encode(Ops &ops, Tensor ids, Tensor positions) const {
    Output output{nullptr, nullptr};
    Tensor x = ops.add(ops.rows(tokenEmbedding_, ids), ops.rows(positionEmbedding_, positions));
    for (std::size_t i = 0; i < layers_.size(); i++) {
        if (static_cast<int>(i) == config_.statesAfter) output.states = x;
        const Layer &layer = layers_[i];
        Tensor y = ops.layerNorm(x, layer.norm1, kEpsilon);
        y = ops.attention(ops.linear(y, layer.q), ops.linear(y, layer.k), ops.linear(y, layer.v),
                          config_.heads, Mask::Causal);
        x = ops.add(x, ops.linear(y, layer.out));

        y = ops.layerNorm(x, layer.norm2, kEpsilon);
        y = ops.linear(y, layer.fc1);
        y = config_.exactGelu ? ops.gelu(y) : ops.quickGelu(y);
        x = ops.add(x, ops.linear(y, layer.fc2));
    }
    if (!output.states) output.states = x;
    if (config_.normedStates) {
        output.states = ops.finalLayerNorm(output.states, finalNorm_, kEpsilon);
    }
    if (projection_.weight) {
        output.pooled = ops.linear(ops.layerNorm(x, finalNorm_, kEpsilon), projection_);
    }
    return output;
}

} // namespace magicmix
