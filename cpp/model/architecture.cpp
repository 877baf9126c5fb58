#include "model/architecture.h"

#include "base/error.h"
#include "base/text.h"
#include "base/tokens.h"
#include "model/names.h"
#include "model/tiny_decoder.h"

#include <algorithm>

namespace magicmix {
namespace {

constexpr std::int64_t kMaxWidth = 1 << 16;
constexpr int kMaxLevels = 8;
constexpr int kMaxTextLayers = 64;
constexpr int kMaxLayers = 16; // of a level

std::string numbered(const std::string &before, int n, const std::string &after) {
    return before + std::to_string(n) + after;
}

/// Looks sizes up in a checkpoint, and complains about missing and absurd ones.
class Shapes {
public:
    explicit Shapes(const WeightSource &source) : source_(source) {}

    bool hasAny(const std::string &prefix) const { return source_.hasAny(prefix); }

    int size(const std::string &name, std::size_t axis, std::size_t dimensions,
             std::int64_t limit = kMaxWidth) const {
        const auto shape = source_.describe(name).shape; // throws if there is no such tensor
        if (shape.size() < dimensions || shape[axis] < 1 || shape[axis] > limit) {
            throw Error("MODEL_FORMAT",
                        "tensor '" + name + "' has shape " + shapeText(shape) + "; expected " +
                            std::to_string(dimensions) + " dimensions from 1 to " +
                            std::to_string(limit),
                        {{"tensor", name}});
        }
        return static_cast<int>(shape[axis]);
    }

    /// The number of parts `before`0., `before`1., ... there are. Any tensor of a part counts, so
    /// that a part which lacks some is found incomplete and not absent.
    int count(const std::string &before, int limit) const {
        int n = 0;
        while (n < limit && hasAny(numbered(before, n, "."))) n++;
        return n;
    }

private:
    const WeightSource &source_;
};

[[noreturn]] void unsupported(const std::string &message) {
    throw Error("MODEL_UNSUPPORTED", message);
}

void requireDivisible(int width, int parts, const std::string &what, const std::string &option) {
    if (parts < 1 || width % parts != 0) {
        throw Error("MODEL_FORMAT",
                    what + " of width " + std::to_string(width) + " cannot be divided into " +
                        std::to_string(parts) + " (" + option + ")",
                    {{"width", static_cast<double>(width)}, {"parts", static_cast<double>(parts)}});
    }
}

[[noreturn]] void needHeads(const std::string &network, const std::string &option) {
    throw Error(
        "CONFIG_NEEDED",
        "the file does not declare how many attention heads the " + network +
            " has, and its sizes are not those of Stable Diffusion 1.x or 2.x; pass config: " +
            option,
        {{"option", option}});
}

TextEncoderConfig deduceText(const Shapes &shapes, const ModelConfig::TextEncoder &declared) {
    const std::string p = kTextPrefix;
    TextEncoderConfig config;
    config.prefix = p;
    const std::string table = p + "embeddings.token_embedding.weight";
    config.vocabulary = shapes.size(table, 0, 2, 1 << 20);
    config.width = shapes.size(table, 1, 2);
    config.layers = shapes.count(p + "encoder.layers.", kMaxTextLayers);
    if (declared.layers.value_or(1) > config.layers) {
        throw Error("MODEL_FORMAT", "the text encoder's configuration says num_hidden_layers " +
                                        std::to_string(*declared.layers) + ", but its file has " +
                                        std::to_string(config.layers) + " layers");
    }
    config.layers = declared.layers.value_or(config.layers);
    config.hidden = shapes.size(p + "encoder.layers.0.mlp.fc1.weight", 0, 2);
    if (config.vocabulary < kClipTokens) {
        unsupported("the text encoder knows " + std::to_string(config.vocabulary) +
                    " tokens; CLIP has " + std::to_string(kClipTokens));
    }
    const int positions = shapes.size(p + "embeddings.position_embedding.weight", 0, 2);
    if (positions != kContextLength) {
        unsupported("the text encoder has " + std::to_string(positions) + " positions; CLIP has " +
                    std::to_string(kContextLength));
    }
    const Family *ofWidth = familyOfTextWidth(config.width);
    const std::string activation =
        declared.activation.value_or(ofWidth ? ofWidth->text.activation : "quick_gelu");
    if (!familyOfActivation(activation)) {
        unsupported("the text encoder uses '" + activation +
                    "'; Stable Diffusion 1.x has quick_gelu, 2.x gelu");
    }
    config.exactGelu = activation == "gelu";
    if (!declared.heads && !ofWidth) needHeads("text encoder", "{ textEncoder: { heads: ... } }");
    config.heads = declared.heads ? *declared.heads : ofWidth->text.heads;
    requireDivisible(config.width, config.heads, "a text encoder", "textEncoder.heads");
    return config;
}

std::vector<int> headsOfWidth(const std::vector<int> &channels, int width) {
    std::vector<int> heads;
    for (const int n : channels) {
        requireDivisible(n, width, "a UNet level", "unet.headWidth");
        heads.push_back(n / width);
    }
    return heads;
}

/// A UNet that takes more than a latent, by the number of its input channels.
std::string unetOfChannels(int channels) {
    switch (channels) {
    case 5: return "a depth-to-image UNet";
    case 7: return "an upscaler's UNet";
    case 8: return "a UNet that edits pictures by instruction";
    case 9: return "an inpainting UNet";
    default: return "a UNet of an unknown kind";
    }
}

std::optional<Prediction> declaredPrediction(const ModelConfig::Unet &declared) {
    if (!declared.prediction) return std::nullopt;
    for (const Prediction prediction : {Prediction::Noise, Prediction::Velocity}) {
        if (*declared.prediction == predictionName(prediction)) return prediction;
    }
    unsupported("the UNet predicts '" + *declared.prediction +
                "'; those of Stable Diffusion predict epsilon or v_prediction");
}

std::vector<int> deduceHeads(const UNetConfig &unet, const ModelConfig::Unet &declared) {
    const std::size_t levels = unet.channels.size();
    if (declared.heads.size() == 1) return std::vector<int>(levels, declared.heads.front());
    if (!declared.heads.empty()) {
        if (declared.heads.size() == levels) return declared.heads;
        throw Error("MODEL_FORMAT", "the UNet's configuration gives heads for " +
                                        std::to_string(declared.heads.size()) +
                                        " levels, but it has " + std::to_string(levels));
    }
    if (declared.headWidth) return headsOfWidth(unet.channels, *declared.headWidth);
    const Family *family = familyOfUnet(unet.channels.front(), unet.contextWidth);
    if (!family) needHeads("UNet", "{ unet: { heads: ... } }");
    if (family->unet.headWidth > 0) return headsOfWidth(unet.channels, family->unet.headWidth);
    return std::vector<int>(levels, family->unet.heads);
}

/// The keys of the first cross-attention.
std::string firstTransformer(const UNetConfig &unet) {
    const auto level = std::find(unet.attention.begin(), unet.attention.end(), true);
    if (level == unet.attention.end()) unsupported("the UNet has no cross-attention: no prompt");
    const auto n = static_cast<int>(level - unet.attention.begin());
    return numbered(std::string(kUnetPrefix) + "input_blocks.", 1 + n * (unet.layers + 1),
                    ".1.transformer_blocks.0.attn2.to_k.weight");
}

/// What the configuration says of a network has to be what its weights show.
void requireSame(const char *key, const std::vector<int> &declared, const std::vector<int> &found,
                 const char *network) {
    if (declared.empty() || declared == found) return;
    const auto text = [](const std::vector<int> &values) {
        return shapeText({values.begin(), values.end()});
    };
    throw Error("MODEL_FORMAT",
                "the " + std::string(network) + "'s configuration says " + key + " " +
                    text(declared) + ", but its file has " + text(found),
                {{"key", std::string(key)}});
}

void requireSame(const char *key, std::optional<int> declared, int found, const char *network) {
    if (declared) requireSame(key, std::vector<int>{*declared}, {found}, network);
}

UNetConfig deduceUnet(const Shapes &shapes, const ModelConfig::Unet &declared) {
    const std::string p = kUnetPrefix;
    UNetConfig config;
    const std::string first = p + "input_blocks.0.0.weight";
    const int in = shapes.size(first, 1, 4);
    if (in != kLatentChannels) {
        unsupported("this is " + unetOfChannels(in) + " (" + std::to_string(in) +
                    " input channels); a text-to-image UNet of Stable Diffusion 1.x or 2.x takes " +
                    std::to_string(kLatentChannels));
    }

    const auto isResBlock = [&](int n) {
        const std::string block = numbered(p + "input_blocks.", n, ".0.");
        return shapes.hasAny(block) && !shapes.hasAny(block + "op.");
    };
    while (config.layers < kMaxLayers && isResBlock(config.layers + 1)) config.layers++;
    if (config.layers == 0) shapes.size(p + "input_blocks.1.0.in_layers.0.weight", 0, 1);
    for (int level = 0; level < kMaxLevels; level++) {
        const int block = 1 + level * (config.layers + 1);
        if (!isResBlock(block)) break;
        const std::string name = numbered(p + "input_blocks.", block, ".");
        config.channels.push_back(shapes.size(name + "0.in_layers.2.weight", 0, 4));
        config.attention.push_back(shapes.hasAny(name + "1."));
    }
    if (config.channels.empty()) {
        throw Error("MODEL_FORMAT",
                    "the UNet's first block, '" + p +
                        "input_blocks.1.', is no ResBlock: there are "
                        "tensors of a downsampling layer ('0.op.') in it",
                    {{"tensor", p + "input_blocks.1.0.op."}});
    }
    config.middle = shapes.hasAny(p + "middle_block.");
    const std::string keys = firstTransformer(config);
    config.contextWidth = shapes.size(keys, 1, 2);
    const std::string block = keys.substr(0, keys.find("0.attn2"));
    if (shapes.hasAny(block + "1.") || shapes.hasAny(p + "middle_block.1.transformer_blocks.1.")) {
        unsupported(
            "the UNet has transformers of several blocks; Stable Diffusion 1.x and 2.x have one");
    }
    requireSame("block_out_channels", declared.channels, config.channels, "UNet");
    requireSame("layers_per_block", declared.layers, config.layers, "UNet");
    requireSame("cross_attention_dim", declared.contextWidth, config.contextWidth, "UNet");
    if (declared.middle.value_or(config.middle) != config.middle) {
        throw Error("MODEL_FORMAT", std::string("the UNet's configuration gives it ") +
                                        (config.middle ? "no" : "a") +
                                        " middle block (mid_block_type), but its file has " +
                                        (config.middle ? "one" : "none"));
    }

    config.heads = deduceHeads(config, declared);
    config.normGroups = declared.normGroups.value_or(config.normGroups);
    for (std::size_t level = 0; level < config.channels.size(); level++) {
        requireDivisible(config.channels[level], config.heads[level], "a UNet level", "unet.heads");
        requireDivisible(config.channels[level], config.normGroups, "a UNet level",
                         "unet.normGroups");
    }
    return config;
}

AutoencoderConfig deduceVae(const Shapes &shapes, const ModelConfig::Vae &declared,
                            const Family &family) {
    const std::string p = kVaePrefix;
    AutoencoderConfig config;
    for (int level = 0; level < kMaxLevels; level++) {
        const std::string name = numbered(p + "encoder.down.", level, ".");
        if (level > 0 && !shapes.hasAny(name)) break;
        config.channels.push_back(shapes.size(name + "block.0.conv1.weight", 0, 4));
    }
    if (config.channels.size() != 4) {
        unsupported("the autoencoder has " + std::to_string(config.channels.size()) +
                    " levels; that of Stable Diffusion has 4");
    }
    config.layers = shapes.count(p + "encoder.down.0.block.", kMaxLayers);
    requireSame("block_out_channels", declared.channels, config.channels, "autoencoder");
    requireSame("layers_per_block", declared.layers, config.layers, "autoencoder");
    const int latent = shapes.size(p + "post_quant_conv.weight", 0, 2);
    if (latent != kLatentChannels) {
        unsupported("the autoencoder's latent has " + std::to_string(latent) + " channels, not " +
                    std::to_string(kLatentChannels));
    }
    config.normGroups = declared.normGroups.value_or(config.normGroups);
    for (const int channels : config.channels) {
        requireDivisible(channels, config.normGroups, "an autoencoder level", "vae.normGroups");
    }
    config.scalingFactor = declared.scalingFactor.value_or(family.scalingFactor);
    if (!(config.scalingFactor > 0 && config.scalingFactor < 1e6)) {
        throw Error("MODEL_FORMAT", "the autoencoder's scaling factor must be a positive number");
    }
    if (!declared.latentRgb.empty()) config.latentRgb = declared.latentRgb;
    return config;
}

} // namespace

int Architecture::nativeSize() const {
    if (sampleSize) return *sampleSize * kPixelsPerCell;
    const bool velocity = schedule.prediction == Prediction::Velocity;
    return velocity ? family->nativeSizeVelocity : family->nativeSize;
}

Architecture deduceArchitecture(const WeightSource &source, const ModelConfig &config) {
    const Shapes shapes(source);
    Architecture architecture;
    architecture.text = deduceText(shapes, config.textEncoder);
    architecture.family = familyOfActivation(architecture.text.exactGelu ? "gelu" : "quick_gelu");
    architecture.text.padding =
        config.tokenizer.padding.value_or(architecture.family->text.padding);
    architecture.unet = deduceUnet(shapes, config.unet);
    architecture.vae = deduceVae(shapes, config.vae, *architecture.family);
    if (source.hasAny(kTinyDecoderPrefix)) {
        architecture.tinyDecoder = deduceTinyDecoder(source, config.tinyDecoder);
    }
    architecture.schedule = config.schedule.value_or(Schedule{});
    architecture.schedule.prediction = declaredPrediction(config.unet);
    architecture.sampleSize = config.unet.sampleSize;
    if (config.unet.sampleSize && *config.unet.sampleSize > kMaxSide / kPixelsPerCell) {
        unsupported("the model was trained on latents of " +
                    std::to_string(*config.unet.sampleSize) +
                    " cells along a side (sample_size); the most is " +
                    std::to_string(kMaxSide / kPixelsPerCell));
    }
    if (architecture.unet.contextWidth != architecture.text.width) {
        unsupported("the UNet wants text states of width " +
                    std::to_string(architecture.unet.contextWidth) +
                    ", but the text encoder gives " + std::to_string(architecture.text.width));
    }
    return architecture;
}

} // namespace magicmix
