#include "diffusion/levels.h"

#include "base/error.h"

#include <algorithm>
#include <cmath>

namespace magicmix {
namespace {

constexpr int kLatticePoints = 50;
constexpr double kLeastAlpha = 1.0 / (1 << 24); // sigma is 4096 there

} // namespace

Levels Levels::between(std::vector<double> timesteps, std::vector<double> of) {
    Levels levels;
    levels.after.assign(of.begin() + 1, of.end());
    levels.fresh.assign(timesteps.size(), 0);
    levels.timesteps = std::move(timesteps);
    levels.of = std::move(of);
    return levels;
}

double ancestralNoise(double a, double b) {
    return std::sqrt((1 - b) / (1 - a)) * std::sqrt(1 - a / b);
}

std::vector<double> sigmas(const Schedule &schedule) {
    std::vector<double> table;
    for (const double alpha : cumulativeAlphas(schedule)) {
        table.push_back(std::sqrt(1 / std::max(alpha, kLeastAlpha) - 1));
    }
    return table;
}

double alphaOfSigma(double sigma) { return 1 / (1 + sigma * sigma); }

double interpolated(const std::vector<double> &table, double timestep) {
    const double last = static_cast<double>(table.size()) - 1;
    const double t = std::clamp(timestep, 0.0, last);
    const auto below = static_cast<std::size_t>(t);
    const std::size_t above = std::min(below + 1, table.size() - 1);
    const double share = t - static_cast<double>(below);
    return share == 0 ? table[below] : table[below] + share * (table[above] - table[below]);
}

std::vector<int> latticeTimesteps(const Schedule &schedule, int steps, const char *sampler) {
    if (steps > kLatticePoints) {
        throw Error("INVALID_ARGUMENT",
                    std::string("steps must be at most ") + std::to_string(kLatticePoints) +
                        " with the sampler " + sampler + ", not " + std::to_string(steps) +
                        "; 4 to 12 are usual",
                    {{"name", "steps"}, {"steps", static_cast<double>(steps)}});
    }
    const int stride = schedule.trainingSteps / kLatticePoints;
    std::vector<int> timesteps;
    for (int i = 0; i < steps; i++) {
        timesteps.push_back(stride * (kLatticePoints - kLatticePoints * i / steps) - 1);
    }
    return timesteps;
}

} // namespace magicmix
