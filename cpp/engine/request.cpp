#include "engine/request.h"

#include "base/error.h"
#include "base/tokens.h"
#include "mix/mixing.h"

#include <algorithm>
#include <cmath>

namespace magicmix {
namespace {

constexpr int kMostWeighted = 8; // contents, or pictures of a layout
constexpr double kMostWeight = 100;
constexpr int kMostSeeds = 16;

std::string text(double value) {
    std::string digits = std::to_string(value);
    digits.erase(digits.find_last_not_of('0') + 1);
    if (digits.back() == '.') digits.pop_back();
    return digits;
}

void require(bool holds, const std::string &name, const std::string &expected, double value) {
    if (holds) return;
    throw Error("INVALID_ARGUMENT", name + " must be " + expected + ", not " + text(value),
                {{"name", name}, {"value", value}});
}

void requireBetween(double value, double low, double high, const std::string &name) {
    require(value >= low && value <= high, name, "a number from " + text(low) + " to " + text(high),
            value);
}

/// For `visitValues`.
struct RangeCheck {
    void operator()(const char *name, int value, Range range) const {
        require(value >= range.low && value <= range.high, name,
                "a whole number from " + text(range.low) + " to " + text(range.high), value);
    }
    void operator()(const char *name, double value, Range range) const {
        requireBetween(value, range.low, range.high, name);
    }
    template <typename T>
    void operator()(const char *, const T &) const {}
};

void requireCount(std::size_t count, std::size_t expected, const std::string &name) {
    if (count == expected) return;
    throw Error("INVALID_ARGUMENT",
                name + " must have " + std::to_string(expected) + " values, not " +
                    std::to_string(count),
                {{"name", name}, {"value", static_cast<double>(count)}});
}

std::size_t product(int a, int b, int c) {
    return static_cast<std::size_t>(a) * static_cast<std::size_t>(b) * static_cast<std::size_t>(c);
}

/// Every step has a text, and every text is one.
void checkEdit(const MixRequest::PromptEdit &edit, int steps, int vocabulary,
               const std::string &name) {
    if (edit.ofStep.empty()) return;
    requireCount(edit.ofStep.size(), static_cast<std::size_t>(steps), name + ".ofStep");
    for (const Tokens &text : edit.texts) checkTokens(text, vocabulary, name);
    for (const int text : edit.ofStep) {
        require(text >= 0 && text < static_cast<int>(edit.texts.size()), name + ".ofStep",
                "the number of a text", text);
    }
}

void checkMethod(const MixRequest &request) {
    const std::string &name = request.method.name;
    const auto &names = methodNames();
    if (std::find(names.begin(), names.end(), name) == names.end()) {
        throw Error("INVALID_ARGUMENT", "there is no method '" + name + "'",
                    {{"name", std::string("method")}});
    }
    if (request.method.isMagicMix()) return;
    if (!request.layout.isPrompt() || request.interpolate) {
        throw Error("INVALID_ARGUMENT", "the method '" + name + "' mixes two prompts",
                    {{"name", std::string("method")}});
    }
    require(request.contents.size() == 1, "contents", "one, as two prompts are mixed",
            static_cast<double>(request.contents.size()));
    require(request.kMin == 1, "kMin", "1, as nothing is mixed into states", request.kMin);
    require(request.kMaxMap.cells.empty(), "kMaxMap", "none, as nothing is mixed into states", 1);
}

void checkConditioning(const PictureConditioning &picture, const ModelLimits &limits) {
    if (!limits.hasAddedConditioning) {
        throw Error("INVALID_ARGUMENT",
                    "conditioning is for Stable Diffusion XL; this model takes nothing of the kind",
                    {{"name", std::string("conditioning")}});
    }
    constexpr int most = 1 << 16;
    for (const int length : {picture.originalHeight, picture.originalWidth, picture.targetHeight,
                             picture.targetWidth}) {
        requireBetween(length, 1, most, "a length of conditioning");
    }
    requireBetween(picture.cropTop, 0, most, "conditioning.cropTopLeft");
    requireBetween(picture.cropLeft, 0, most, "conditioning.cropTopLeft");
}

/// Of pictures or contents, whose mean is taken.
template <typename Weighted>
void checkWeights(const std::vector<Weighted> &all, double least, const std::string &name) {
    double sum = 0;
    for (const auto &each : all) {
        requireBetween(each.weight, least, kMostWeight, name + ".weight");
        sum += each.weight;
    }
    require(sum > 0, name, "of weights whose sum is above 0", sum);
    require(all.size() <= kMostWeighted, name, "at most " + text(kMostWeighted),
            static_cast<double>(all.size()));
}

void checkContents(const MixRequest &request, int vocabulary) {
    requireBetween(static_cast<double>(request.contents.size()), 1, kMostWeighted, "contents");
    checkWeights(request.contents, -kMostWeight, "contents");
    for (const MixRequest::Content &content : request.contents) {
        checkTokens(content.tokens, vocabulary, "content");
        checkEdit(content.edit, request.steps, vocabulary, "content.edit");
        checkAttention(content.attention);
    }
    if (!request.interpolate) return;
    require(request.contents.size() == 1, "interpolate", "for one content",
            static_cast<double>(request.contents.size()));
    checkTokens(request.interpolate->tokens, vocabulary, "interpolate.tokens");
    requireBetween(request.interpolate->weight, 0, 1, "interpolate.weight");
}

/// `cells`: of the latent.
void checkMixing(const MixRequest &request, std::size_t cells) {
    require(request.kMin <= request.kMax, "kMin", "at most kMax (" + text(request.kMax) + ")",
            request.kMin);
    require(indexAt(request.kMax, request.steps) < request.steps, "kMax",
            "at least 1 / steps, or no step is left to mix in", request.kMax);
    const int mixed = Mixing::mixedStates(request.kMin, request.kMax, request.steps);
    requireCount(request.nu.size(), static_cast<std::size_t>(mixed), "nu");
    for (const double nu : request.nu) requireBetween(nu, 0, 1, "nu");
    for (const auto &[map, name] :
         {std::pair(&request.nuMap.cells, "nuMap"), std::pair(&request.kMaxMap.cells, "kMaxMap")}) {
        if (map->empty()) continue;
        requireCount(map->size(), cells, name);
        for (const float value : *map) requireBetween(value, 0, 1, name);
    }
}

/// States and previews are told of one mix.
void checkSeeds(const MixRequest &request) {
    const auto count = static_cast<int>(request.seeds.size());
    require(count >= 1 && count <= kMostSeeds, "seeds", "1 to " + text(kMostSeeds), count);
    if (count == 1) return;
    require(!request.trace, "trace", "false with several seeds", 1);
    require(request.previewEvery == 0, "previewEvery", "0 with several seeds",
            request.previewEvery);
}

} // namespace

void checkMixRequest(const MixRequest &request, const ModelLimits &limits) {
    const int vocabulary = limits.vocabulary;
    checkSize(request.size());
    if (request.layout.isPrompt()) {
        checkTokens(request.layout.tokens, vocabulary, "layout.tokens");
    } else {
        checkWeights(request.layout.pictures, 0, "layouts");
        for (const auto &[pixels, weight] : request.layout.pictures) {
            checkPixels(pixels, request.size());
        }
    }
    checkTokens(request.negativePrompt, vocabulary, "negativePrompt");
    checkEdit(request.layoutEdit, request.steps, vocabulary, "layoutEdit");
    checkEdit(request.negativeEdit, request.steps, vocabulary, "negativeEdit");
    checkContents(request, vocabulary);
    if (request.conditioning) checkConditioning(*request.conditioning, limits);

    visitValues(request, RangeCheck{});
    require(request.cache.blocks <= limits.upBlocks, "cache.blocks",
            "at most " + text(limits.upBlocks) + ", which this model's UNet has",
            request.cache.blocks);
    if (request.decoder != "full" && request.decoder != "tiny") {
        throw Error("INVALID_ARGUMENT",
                    "decoder must be 'full' or 'tiny', not '" + request.decoder + "'",
                    {{"name", std::string("decoder")}});
    }
    checkSeeds(request);
    checkMethod(request);
    checkMixing(request, request.size().cells().cells());
}

void checkSize(PixelSize size) {
    const std::string expected = "a multiple of " + std::to_string(kPixelsPerCell) + " from " +
                                 std::to_string(kPixelsPerCell) + " to " + std::to_string(kMaxSide);
    const auto fits = [](int side) {
        return side >= kPixelsPerCell && side <= kMaxSide && side % kPixelsPerCell == 0;
    };
    require(fits(size.width), "width", expected, size.width);
    require(fits(size.height), "height", expected, size.height);
}

void checkPixels(const std::vector<std::uint8_t> &rgb, PixelSize size) {
    requireCount(rgb.size(), product(size.width, size.height, 3), "layout.pixels");
}

void checkLatent(const Latent &latent, CellSize size) {
    constexpr int most = kMaxSide / kPixelsPerCell;
    requireBetween(size.width, 1, most, "latentWidth");
    requireBetween(size.height, 1, most, "latentHeight");
    requireCount(latent.size(), size.values(), "latent");
}

void checkConditioning(const Conditioning &conditioning, int width, int pooledWidth) {
    requireCount(conditioning.context.size(), product(kContextLength, width, 1), "textStates");
    requireCount(conditioning.pooled.size(), static_cast<std::size_t>(pooledWidth), "pooled");
}

void checkTokens(const Tokens &tokens, int vocabulary, const std::string &name) {
    requireCount(tokens.size(), kContextLength, name);
    for (const std::int32_t id : tokens) {
        require(id >= 0 && id < vocabulary, name,
                "token ids from 0 to " + std::to_string(vocabulary - 1), id);
    }
}

void checkAttention(const std::vector<AttentionScale> &scales) {
    for (const auto &scale : scales) {
        requireBetween(scale.position, 0, kContextLength - 1, "the position of a scaled token");
        requireBetween(scale.scale, -2, 2, "an attention scale");
        requireBetween(scale.from, 0, 1, "the start of a scale's window");
        requireBetween(scale.to, scale.from, 1, "the end of a scale's window");
    }
}

} // namespace magicmix
