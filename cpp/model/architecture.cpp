#include "model/architecture.h"

#include "base/error.h"
#include "base/text.h"
#include "base/tokens.h"
#include "model/added_conditioning.h"
#include "model/names.h"
#include "model/tiny_decoder.h"

#include <algorithm>
#include <cstdlib>

namespace magicmix {
namespace {

constexpr std::int64_t kMaxWidth = 1 << 16;
constexpr int kMaxLevels = 8;
constexpr int kMaxTextLayers = 64;
constexpr int kMaxLayers = 16; // of a level
constexpr int kMaxDepth = 64;  // of a transformer

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
    throw Error("CONFIG_NEEDED",
                "the file does not declare how many attention heads the " + network +
                    " has, and its sizes are not those of Stable Diffusion 1.x, 2.x or XL; pass "
                    "config: " +
                    option,
                {{"option", option}});
}

/// The first family whose text encoders are there. 1.x and 2.x have them in the same place.
const Family *familyWith(const WeightSource &source, const std::string &activation) {
    const auto isThere = [&](const Family::TextEncoder &text) {
        return source.hasAny(text.prefix);
    };
    for (const Family &family : families()) {
        if (std::all_of(family.texts.begin(), family.texts.end(), isThere) &&
            (activation.empty() || activation == family.texts.front().activation)) {
            return &family;
        }
    }
    return nullptr;
}

/// A text encoder of a model, and what is known of it before its shapes are looked at.
struct TextPlace {
    const char *prefix;
    std::size_t index;
    const char *option; ///< of `config`
};

TextEncoderConfig deduceText(const Shapes &shapes, const TextPlace &place,
                             const ModelConfig::TextEncoder &declared) {
    const std::string p = place.prefix + std::string("text_model.");
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
    const Family::TextEncoder *known = textEncoderOfWidth(config.width, place.index);
    if (!declared.heads && !known) {
        needHeads("text encoder", std::string("{ ") + place.option + ": { heads: ... } }");
    }
    config.heads = declared.heads ? *declared.heads : known->heads;
    requireDivisible(config.width, config.heads, "a text encoder",
                     std::string(place.option) + ".heads");
    return config;
}

std::string activationOf(const ModelConfig::TextEncoder &declared, int width, std::size_t index) {
    const Family::TextEncoder *known = textEncoderOfWidth(width, index);
    return declared.activation.value_or(known        ? known->activation
                                        : index == 0 ? "quick_gelu"
                                                     : "gelu");
}

/// Of a second text encoder whose size is not known: all heads of a family have the same width.
std::optional<int> headsLike(const TextEncoderConfig &first, const Shapes &shapes,
                             const TextPlace &place) {
    const std::string table = "text_model.embeddings.token_embedding.weight";
    const int width = shapes.size(place.prefix + table, 1, 2);
    const int headWidth = first.width / first.heads;
    if (textEncoderOfWidth(width, place.index) || width % headWidth != 0) return std::nullopt;
    return width / headWidth;
}

/// The text encoders of a family, and which it is.
void deduceTexts(Architecture &architecture, const Shapes &shapes, const WeightSource &source,
                 const ModelConfig &config, int clipSkip) {
    const Family *place = familyWith(source, "");
    if (!place) place = &families().front(); // its tensors are named as missing
    const ModelConfig::TextEncoder *declared[] = {&config.textEncoder, &config.textEncoder2};
    constexpr const char *options[] = {"textEncoder", "textEncoder2"};
    for (std::size_t i = 0; i < place->texts.size(); i++) {
        ModelConfig::TextEncoder text = *declared[i];
        const TextPlace at{place->texts[i].prefix, i, options[i]};
        if (i > 0 && !text.heads) text.heads = headsLike(architecture.texts.front(), shapes, at);
        TextEncoderConfig deduced = deduceText(shapes, at, text);
        const std::string activation = activationOf(text, deduced.width, i);
        if (activation != "quick_gelu" && activation != "gelu") {
            unsupported("the text encoder uses '" + activation +
                        "'; Stable Diffusion 1.x has quick_gelu, 2.x gelu");
        }
        deduced.exactGelu = activation == "gelu";
        if (i == 0) architecture.family = familyWith(source, activation);
        if (!architecture.family) architecture.family = place;
        architecture.texts.push_back(std::move(deduced));
    }
    const Family &family = *architecture.family;
    const int skip = clipSkip == 0 ? family.states.clipSkip : clipSkip;
    for (std::size_t i = 0; i < architecture.texts.size(); i++) {
        TextEncoderConfig &text = architecture.texts[i];
        text.normedStates = family.states.normed;
        if (skip > text.layers) {
            throw Error("INVALID_ARGUMENT",
                        "clipSkip is " + std::to_string(skip) + ", but the text encoder has only " +
                            std::to_string(text.layers) + " layers",
                        {{"clipSkip", static_cast<double>(skip)}});
        }
        text.statesAfter = text.layers - (skip - 1);
    }
    const auto fill = [&](std::size_t i, std::optional<std::int32_t> padding) {
        auto &text = architecture.texts[i];
        text.padding = padding.value_or(family.texts[i].padding);
    };
    fill(0, config.tokenizer.padding);
    if (architecture.texts.size() > 1) fill(1, config.textEncoder2.padding);
    if (family.states.pooled) {
        TextEncoderConfig &last = architecture.texts.back();
        last.pooledWidth =
            shapes.size(std::string(family.texts.back().prefix) + "text_projection.weight", 0, 2);
    }
    architecture.zerosForEmptyPrompt =
        config.zerosForEmptyPrompt.value_or(family.states.zerosForEmpty);
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

/// What is declared of a level without transformers has no meaning.
void requireSameDepths(const char *key, const std::vector<std::vector<int>> &declared,
                       const std::vector<std::vector<int>> &found) {
    for (std::size_t level = 0; level < found.size() && !declared.empty(); level++) {
        if (found[level].front() == 0) continue;
        std::vector<int> wanted = declared.size() == 1      ? declared.front()
                                  : level < declared.size() ? declared[level]
                                                            : std::vector<int>{0};
        if (wanted.size() == 1) wanted.assign(found[level].size(), wanted.front());
        requireSame(key, wanted, found[level], "UNet");
    }
}

/// The transformers of a UNet, block by block.
class Transformers {
public:
    explicit Transformers(const Shapes &shapes) : shapes_(shapes) {}

    /// The number of blocks of the transformer at that place.
    int depth(const std::string &place) {
        const std::string blocks = kUnetPrefix + place + ".transformer_blocks.";
        const int depth = shapes_.count(blocks, kMaxDepth);
        if (depth > 0 && keys_.empty()) keys_ = blocks + "0.attn2.to_k.weight";
        return depth;
    }

    /// The width of the text states that they look at.
    int contextWidth() const {
        if (keys_.empty()) unsupported("the UNet has no cross-attention: no prompt");
        return shapes_.size(keys_, 1, 2);
    }

private:
    const Shapes &shapes_;
    std::string keys_;
};

UNetConfig deduceUnet(const Shapes &shapes, const ModelConfig::Unet &declared) {
    const std::string p = kUnetPrefix;
    UNetConfig config;
    const std::string first = p + "input_blocks.0.0.weight";
    const int in = shapes.size(first, 1, 4);
    if (in != kLatentChannels) {
        unsupported("this is " + unetOfChannels(in) + " (" + std::to_string(in) +
                    " input channels); a text-to-image UNet of Stable Diffusion takes " +
                    std::to_string(kLatentChannels));
    }

    const auto isResBlock = [&](int n) {
        const std::string block = numbered(p + "input_blocks.", n, ".0.");
        return shapes.hasAny(block) && !shapes.hasAny(block + "op.");
    };
    while (config.layers < kMaxLayers && isResBlock(config.layers + 1)) config.layers++;
    if (config.layers == 0) shapes.size(p + "input_blocks.1.0.in_layers.0.weight", 0, 1);
    Transformers transformers(shapes);
    const auto depths = [&](const char *blocks, int from, int count) {
        std::vector<int> all;
        for (int n = from; n < from + count; n++) {
            all.push_back(transformers.depth(numbered(blocks, n, ".1")));
        }
        return all;
    };
    for (int level = 0; level < kMaxLevels; level++) {
        const int block = 1 + level * (config.layers + 1);
        if (!isResBlock(block)) break;
        const std::string name = numbered(p + "input_blocks.", block, ".");
        config.channels.push_back(shapes.size(name + "0.in_layers.2.weight", 0, 4));
        config.depthsDown.push_back(depths("input_blocks.", block, config.layers));
    }
    if (config.channels.empty()) {
        throw Error("MODEL_FORMAT",
                    "the UNet's first block, '" + p +
                        "input_blocks.1.', is no ResBlock: there are "
                        "tensors of a downsampling layer ('0.op.') in it",
                    {{"tensor", p + "input_blocks.1.0.op."}});
    }
    const int levels = static_cast<int>(config.channels.size());
    for (int level = 0; level < levels; level++) {
        const int block = (levels - 1 - level) * (config.layers + 1);
        config.depthsUp.push_back(depths("output_blocks.", block, config.layers + 1));
    }
    const bool middle = shapes.hasAny(p + "middle_block.");
    const bool both = shapes.hasAny(p + "middle_block.1.") || shapes.hasAny(p + "middle_block.2.");
    config.middleResBlocks = both ? 2 : middle ? 1 : 0;
    config.middleDepth = transformers.depth("middle_block.1");
    config.contextWidth = transformers.contextWidth();
    if (shapes.hasAny(p + "label_emb.")) {
        config.addedWidth = shapes.size(p + "label_emb.0.0.weight", 1, 2);
    }
    requireSame("block_out_channels", declared.channels, config.channels, "UNet");
    requireSame("layers_per_block", declared.layers, config.layers, "UNet");
    requireSame("cross_attention_dim", declared.contextWidth, config.contextWidth, "UNet");
    requireSame("projection_class_embeddings_input_dim", declared.addedWidth, config.addedWidth,
                "UNet");
    requireSameDepths("transformer_layers_per_block", declared.depthsDown, config.depthsDown);
    requireSameDepths("reverse_transformer_layers_per_block", declared.depthsUp, config.depthsUp);
    if (declared.middleResBlocks.value_or(config.middleResBlocks) != config.middleResBlocks) {
        constexpr const char *kinds[] = {"no middle block", "a middle block of one ResBlock",
                                         "a middle block"};
        throw Error("MODEL_FORMAT", std::string("the UNet's configuration gives it ") +
                                        kinds[*declared.middleResBlocks] +
                                        " (mid_block_type), but its file has " +
                                        kinds[config.middleResBlocks]);
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

/// The UNet takes what the text encoders give.
void requireFit(const Architecture &architecture) {
    const UNetConfig &unet = architecture.unet;
    int width = 0;
    for (const auto &text : architecture.texts) width += text.width;
    if (unet.contextWidth != width) {
        unsupported("the UNet wants text states of width " + std::to_string(unet.contextWidth) +
                    ", but the text encoder" +
                    (architecture.texts.size() > 1 ? "s give " : " gives ") +
                    std::to_string(width));
    }
    const int pooled = architecture.texts.back().pooledWidth;
    const int added = pooled > 0 ? pooled + kAddedNumbers : 0;
    if (unet.addedWidth == added) return;
    const std::string takes = unet.addedWidth > 0 ? "the UNet takes a vector of " +
                                                        std::to_string(unet.addedWidth) +
                                                        " numbers beside the prompt"
                                                  : "the UNet takes nothing beside the prompt";
    unsupported(
        takes + "; one of this family takes " +
        (added > 0 ? std::to_string(added) + " (the pooled text and six sizes)" : "nothing") +
        ". It is a model of another kind");
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
    config.latentRgb = declared.latentRgb.empty() ? family.latentRgb : declared.latentRgb;
    return config;
}

} // namespace

int Architecture::nativeSize() const {
    if (sampleSize) return *sampleSize * kPixelsPerCell;
    const bool velocity = schedule.prediction == Prediction::Velocity;
    return velocity ? family->nativeSizeVelocity : family->nativeSize;
}

bool Architecture::isBehindStates(const std::string &tensor) const {
    for (const TextEncoderConfig &text : texts) {
        const auto rest = after(tensor, text.prefix);
        if (!rest) continue;
        if (startsWith(*rest, "final_layer_norm.")) return true;
        const auto layer = after(*rest, "encoder.layers.");
        const int layers = text.pooledWidth > 0 ? text.layers : text.statesAfter;
        return layer && std::atoi(layer->c_str()) >= layers;
    }
    return false;
}

Architecture deduceArchitecture(const WeightSource &source, const ModelConfig &config,
                                int clipSkip) {
    const Shapes shapes(source);
    Architecture architecture;
    deduceTexts(architecture, shapes, source, config, clipSkip);
    architecture.unet = deduceUnet(shapes, config.unet);
    architecture.vae = deduceVae(shapes, config.vae, *architecture.family);
    if (source.hasAny(kTinyDecoderPrefix)) {
        architecture.tinyDecoder = deduceTinyDecoder(source, config.tinyDecoder);
    }
    architecture.schedule = config.schedule.value_or(Schedule{});
    architecture.schedule.prediction = declaredPrediction(config.unet);
    const auto &unet = architecture.family->unet;
    if (!architecture.schedule.prediction && !unet.probed) {
        architecture.schedule.prediction = unet.usualPrediction;
    }
    architecture.sampleSize = config.unet.sampleSize;
    if (config.unet.sampleSize && *config.unet.sampleSize > kMaxSide / kPixelsPerCell) {
        unsupported("the model was trained on latents of " +
                    std::to_string(*config.unet.sampleSize) +
                    " cells along a side (sample_size); the most is " +
                    std::to_string(kMaxSide / kPixelsPerCell));
    }
    requireFit(architecture);
    return architecture;
}

} // namespace magicmix
