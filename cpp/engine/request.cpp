#include "engine/request.h"

#include "mix/magicmix.h"

#include <cmath>

namespace magicmix {
namespace {

constexpr int kMaxPixels = 4096;
constexpr int kMaxSteps = 999;

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

} // namespace

void checkMixRequest(const MixRequest &request, int vocabulary) {
    checkSize(request.width, request.height);
    if (request.layoutPixels.empty()) {
        checkTokens(request.layoutTokens, vocabulary, "layoutTokens");
    } else {
        checkPixels(request.layoutPixels, request.width, request.height);
    }
    checkTokens(request.contentTokens, vocabulary, "contentTokens");
    checkTokens(request.negativeTokens, vocabulary, "negativeTokens");
    if (!request.otherTokens.empty()) checkTokens(request.otherTokens, vocabulary, "otherTokens");
    requireBetween(request.otherWeight, 0, 1, "otherWeight");
    checkScales(request.scales);

    require(request.steps >= 1 && request.steps <= kMaxSteps, "steps",
            "a whole number from 1 to 999", request.steps);
    requireBetween(request.kMin, 0, 1, "kMin");
    requireBetween(request.kMax, 0, 1, "kMax");
    require(request.kMin <= request.kMax, "kMin", "at most kMax (" + text(request.kMax) + ")",
            request.kMin);
    require(indexAt(request.kMax, request.steps) < request.steps, "kMax",
            "at least 1 / steps, or no step is left to mix in", request.kMax);
    requireBetween(request.nu, 0, 1, "nu");
    requireBetween(request.guidanceScale, 0, 100, "guidanceScale");
    requireBetween(request.eta, 0, 1, "eta");
    require(request.previewEvery >= 0, "preview", "a whole number, 0 or more",
            request.previewEvery);
}

void checkSize(int width, int height) {
    const std::string expected = "a multiple of " + std::to_string(kPixelsPerCell) + " from " +
                                 std::to_string(kPixelsPerCell) + " to " +
                                 std::to_string(kMaxPixels);
    const auto fits = [](int side) {
        return side >= kPixelsPerCell && side <= kMaxPixels && side % kPixelsPerCell == 0;
    };
    require(fits(width), "width", expected, width);
    require(fits(height), "height", expected, height);
}

void checkPixels(const std::vector<std::uint8_t> &rgb, int width, int height) {
    requireCount(rgb.size(), product(width, height, 3), "layoutPixels");
}

void checkLatent(const std::vector<float> &latent, int width, int height) {
    constexpr int most = kMaxPixels / kPixelsPerCell;
    requireBetween(width, 1, most, "latentWidth");
    requireBetween(height, 1, most, "latentHeight");
    requireCount(latent.size(), product(width, height, kLatentChannels), "latent");
}

void checkTextStates(const std::vector<float> &states, int width) {
    requireCount(states.size(), product(kContextLength, width, 1), "textStates");
}

void checkTokens(const std::vector<std::int32_t> &tokens, int vocabulary, const std::string &name) {
    requireCount(tokens.size(), kContextLength, name);
    for (const std::int32_t id : tokens) {
        require(id >= 0 && id < vocabulary, name,
                "token ids from 0 to " + std::to_string(vocabulary - 1), id);
    }
}

void checkScales(const std::vector<AttentionScale> &scales) {
    for (const auto &scale : scales) {
        requireBetween(scale.position, 0, kContextLength - 1, "the position of a scaled token");
        requireBetween(scale.scale, -2, 2, "an attention scale");
        requireBetween(scale.from, 0, 1, "the start of a scale's window");
        requireBetween(scale.to, scale.from, 1, "the end of a scale's window");
    }
}

} // namespace magicmix
