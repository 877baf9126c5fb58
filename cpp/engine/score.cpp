#include "engine/score.h"

#include "diffusion/prediction.h"
#include "diffusion/random.h"
#include "model/finite.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace magicmix {
namespace {

/// Noise levels, as fractions of T. At the high one a picture's shapes are just about to be
/// decided, and a prompt that says what they are predicts better than none. At the middling one
/// they are known: what a prompt still wants otherwise is not there.
constexpr double kCoarse = 0.8, kFine = 0.4;
/// At each of the two. Always the same noise, so that scores differ by what is judged alone.
constexpr int kNoises = kScoreCalls / 2;
constexpr std::uint64_t kNoiseSeed = 0;
/// Of what the prompt explains at the high level, against the logarithm of what it still wants at
/// the middling one.
constexpr double kCoarseWeight = 2.5;

double squareOfDifference(const Latent &a, const Latent &b) {
    double sum = 0;
    for (std::size_t k = 0; k < a.size(); k++) {
        const double difference = static_cast<double>(a[k]) - b[k];
        sum += difference * difference;
    }
    return sum;
}

double median(std::vector<double> values) {
    const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
    std::nth_element(values.begin(), middle, values.end());
    return *middle;
}

/// Of every cell, how far it is from the median of the border, 1 being as far as all cells are in
/// root mean square, and no cell farther: where the object is, if there is one before a background.
std::vector<double> object(const Latent &latent, CellSize size) {
    const auto width = static_cast<std::size_t>(size.width);
    const std::size_t cells = size.cells();
    std::vector<double> distances(cells);
    for (std::size_t channel = 0; channel < kLatentChannels; channel++) {
        const float *plane = latent.data() + channel * cells;
        std::vector<double> border;
        for (std::size_t k = 0; k < cells; k++) {
            const std::size_t x = k % width;
            if (x == 0 || x == width - 1 || k < width || k >= cells - width) {
                border.push_back(plane[k]);
            }
        }
        const double background = median(std::move(border));
        for (std::size_t k = 0; k < cells; k++) {
            distances[k] += (plane[k] - background) * (plane[k] - background);
        }
    }
    double mean = 0;
    for (const double square : distances) mean += square / static_cast<double>(cells);
    for (double &each : distances) each = mean > 0 ? std::min(1.0, std::sqrt(each / mean)) : 0;
    return distances;
}

} // namespace

void PromptErrors::add(const Latent &noise, const Latent &forEmpty, const Latent &forPrompt) {
    empty += squareOfDifference(noise, forEmpty);
    prompt += squareOfDifference(noise, forPrompt);
    between += squareOfDifference(forEmpty, forPrompt);
}

double presence(const PromptErrors &coarse, const PromptErrors &fine) {
    // A prompt that is the empty one wants nothing else.
    constexpr double least = std::numeric_limits<double>::min();
    const double explained = (coarse.empty - coarse.prompt) / std::max(coarse.empty, least);
    const double wanted = std::max(fine.between / std::max(fine.empty, least), least);
    return 1 / (1 + std::exp(std::log(wanted) / 2 - kCoarseWeight * explained));
}

double structureKept(const Latent &layout, const Latent &mixed, CellSize size) {
    const std::vector<double> a = object(layout, size), b = object(mixed, size);
    double both = 0, either = 0;
    for (std::size_t k = 0; k < a.size(); k++) {
        both += std::min(a[k], b[k]);
        either += std::max(a[k], b[k]);
    }
    return either > 0 ? both / either : 1;
}

UNetUse PromptJudge::useFor(const MixRequest &request, int prompts) {
    return {prompts, 0, request.pictureConditioning(), 1};
}

PromptJudge::PromptJudge(Networks &networks, const MixRequest &request,
                         const std::vector<const PromptContext *> &prompts,
                         const Cancellation &cancel)
    : networks_(networks), cancel_(cancel), prompts_(prompts.size()),
      session_(networks.unet(), request.size().cells(),
               useFor(request, static_cast<int>(prompts.size()))) {
    session_.setPrompts(prompts);
}

std::vector<double> PromptJudge::presences(const Latent &clean,
                                           const std::function<void(double timestep)> &called) {
    using AllErrors = std::vector<PromptErrors>; // of the prompts behind the empty one
    const Schedule &schedule = networks_.schedule();
    const std::vector<double> alphas = cumulativeAlphas(schedule);
    Generator generator(kNoiseSeed);
    const auto errorsAt = [&](double level) {
        const int timestep = static_cast<int>(level * schedule.trainingSteps);
        const double alphaBar = alphaBarAt(alphas, timestep);
        AllErrors errors(prompts_ - 1);
        for (int n = 0; n < kNoises; n++) {
            const Latent noise = generator.randn(clean.size());
            Latent noised(clean.size());
            for (std::size_t k = 0; k < noised.size(); k++) {
                noised[k] = static_cast<float>(std::sqrt(alphaBar) * clean[k] +
                                               std::sqrt(1 - alphaBar) * noise[k]);
            }
            std::vector<Latent> predicted = session_.predict(noised, timestep, cancel_);
            for (Latent &each : predicted) {
                requireFinite(each, "the UNet at timestep " + std::to_string(timestep));
                each = noiseOf(networks_.prediction(), std::move(each), noised, alphaBar);
            }
            for (std::size_t p = 0; p < errors.size(); p++) {
                errors[p].add(noise, predicted.front(), predicted[p + 1]);
            }
            called(timestep);
        }
        return errors;
    };
    const AllErrors coarse = errorsAt(kCoarse), fine = errorsAt(kFine);
    std::vector<double> all;
    for (std::size_t p = 0; p < coarse.size(); p++) all.push_back(presence(coarse[p], fine[p]));
    return all;
}

} // namespace magicmix
