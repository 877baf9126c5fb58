#include "model/probe.h"

#include "diffusion/random.h"

#include <cmath>

namespace magicmix {
namespace {

constexpr int kLastTimestep = 999;
// Of the latent: 2.x began its training with pictures of 256 pixels, and more takes longer.
constexpr int kSide = 32;
constexpr int kSmallSide = 8;
constexpr double kThreshold = 0.5;

double correlation(const Latent &a, const Latent &b) {
    double meanA = 0, meanB = 0;
    for (std::size_t k = 0; k < a.size(); k++) {
        meanA += a[k] / static_cast<double>(a.size());
        meanB += b[k] / static_cast<double>(a.size());
    }
    double ab = 0, aa = 0, bb = 0;
    for (std::size_t k = 0; k < a.size(); k++) {
        ab += (a[k] - meanA) * (b[k] - meanB);
        aa += (a[k] - meanA) * (a[k] - meanA);
        bb += (b[k] - meanB) * (b[k] - meanB);
    }
    return ab / std::sqrt(aa * bb);
}

} // namespace

Prediction probePrediction(const Placed<UNet> &unet, const PromptContext &empty,
                           std::optional<Prediction> usual, const Cancellation &cancel) {
    const auto noiseOf = [](int side, std::uint64_t seed) {
        return Generator(seed).randn(CellSize{side, side}.values());
    };
    const auto answer = [&](int side, const Latent &noise) {
        UNetSession session(unet, {side, side}, UNetUse{});
        session.setPrompts({&empty});
        return session.predict(noise, kLastTimestep, cancel).front();
    };
    // Most models return the noise even where it is far too small for a picture.
    const Latent small = noiseOf(kSmallSide, 0);
    if (correlation(small, answer(kSmallSide, small)) > kThreshold) return Prediction::Noise;

    const Latent noise = noiseOf(kSide, 0), first = answer(kSide, noise);
    if (correlation(noise, first) > kThreshold) return Prediction::Noise;
    if (!usual) return Prediction::Velocity;
    // Behind the last timestep lies the same picture, the mean of all, whatever the noise is.
    const Latent second = answer(kSide, noiseOf(kSide, 1));
    return correlation(first, second) > kThreshold ? Prediction::Velocity : *usual;
}

} // namespace magicmix
