#include "diffusion/schedule.h"

#include "base/error.h"

#include <cmath>

namespace magicmix {
namespace {

constexpr int kTrainingSteps = 1000;
constexpr double kBetaStart = 0.00085;
constexpr double kBetaEnd = 0.012;
// Stable Diffusion's DDIM starts counting timesteps at 1.
constexpr int kStepsOffset = 1;

/// Cumulative products of 1 - beta, with betas linear in their roots ("scaled linear").
std::vector<double> makeCumulativeAlphas() {
    const double first = std::sqrt(kBetaStart), last = std::sqrt(kBetaEnd);
    std::vector<double> alphaBar;
    double product = 1;
    for (int t = 0; t < kTrainingSteps; t++) {
        const double root = first + (last - first) * t / (kTrainingSteps - 1);
        product *= 1 - root * root;
        alphaBar.push_back(product);
    }
    return alphaBar;
}

const std::vector<double> &cumulativeAlphas() {
    static const std::vector<double> table = makeCumulativeAlphas();
    return table;
}

} // namespace

double alphaBarAt(int timestep) {
    if (timestep < 0 || timestep >= kTrainingSteps) {
        throw Error("INVALID_ARGUMENT",
                    "a timestep must be a whole number from 0 to 999, not " +
                        std::to_string(timestep),
                    {{"timestep", static_cast<double>(timestep)}});
    }
    return cumulativeAlphas()[static_cast<std::size_t>(timestep)];
}

Schedule schedule(int steps) {
    // With 1000 steps the first timestep would be 1000, one past the last that was trained.
    if (steps < 1 || steps >= kTrainingSteps) {
        throw Error("INVALID_ARGUMENT",
                    "steps must be a whole number from 1 to 999, not " + std::to_string(steps),
                    {{"steps", static_cast<double>(steps)}});
    }
    const std::vector<double> &table = cumulativeAlphas();
    const int stride = kTrainingSteps / steps;
    Schedule result;
    for (int i = 0; i < steps; i++) {
        const int t = (steps - 1 - i) * stride + kStepsOffset;
        const int next = t - stride;
        result.timesteps.push_back(t);
        result.alphaBar.push_back(table[static_cast<std::size_t>(t)]);
        result.alphaBarNext.push_back(table[static_cast<std::size_t>(next < 0 ? 0 : next)]);
    }
    return result;
}

} // namespace magicmix
