#include "diffusion/euler.h"

#include <cmath>

namespace magicmix {
namespace {

/// Linspace is not rounded here: the network gets fractional timesteps, of single precision.
std::vector<double> timestepsOf(const Schedule &schedule, int steps) {
    if (schedule.spacing != Schedule::Spacing::Linspace) {
        const auto whole = timesteps(schedule, steps);
        return {whole.begin(), whole.end()};
    }
    const double stride = steps > 1 ? (schedule.trainingSteps - 1.0) / (steps - 1) : 0;
    std::vector<double> all;
    for (int i = 0; i < steps; i++) all.push_back(static_cast<float>((steps - 1 - i) * stride));
    return all;
}

} // namespace

Levels eulerLevels(const Schedule &schedule, int steps, bool ancestral) {
    const std::vector<double> table = sigmas(schedule);
    const std::vector<double> timesteps = timestepsOf(schedule, steps);
    std::vector<double> of;
    for (const double t : timesteps) of.push_back(alphaOfSigma(interpolated(table, t)));
    of.push_back(1);
    Levels levels = Levels::between(timesteps, of);
    for (std::size_t i = 0; ancestral && i < timesteps.size(); i++) {
        levels.fresh[i] = ancestralNoise(of[i], of[i + 1]);
    }
    // These begin at the largest sigma times the noise; leading timesteps at sqrt(sigma^2 + 1) of
    // it.
    if (schedule.spacing != Schedule::Spacing::Leading) levels.first = std::sqrt(1 - of.front());
    return levels;
}

} // namespace magicmix
