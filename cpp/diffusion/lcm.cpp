#include "diffusion/lcm.h"

#include <algorithm>
#include <cmath>

namespace magicmix {
namespace {

constexpr double kSigmaData = 0.5, kTimestepScaling = 10;

/// Levels at the lattice, the last being `end`.
Levels latticeLevels(const std::vector<int> &lattice, const std::vector<double> &alphas,
                     double end) {
    std::vector<double> of;
    for (const int t : lattice) of.push_back(alphaBarAt(alphas, t));
    of.push_back(end);
    return Levels::between({lattice.begin(), lattice.end()}, std::move(of));
}

class Consistency final : public Sampler::Aim {
public:
    explicit Consistency(std::vector<double> timesteps) : timesteps_(std::move(timesteps)) {}

    void correct(int i, const Latent &x, std::vector<double> &clean,
                 std::vector<double> &) override {
        const double t = kTimestepScaling * timesteps_[static_cast<std::size_t>(i)];
        const double sum = t * t + kSigmaData * kSigmaData;
        const double skip = kSigmaData * kSigmaData / sum, out = t / std::sqrt(sum);
        for (std::size_t k = 0; k < clean.size(); k++) clean[k] = out * clean[k] + skip * x[k];
    }

private:
    std::vector<double> timesteps_;
};

} // namespace

Levels lcmLevels(const Schedule &schedule, int steps) {
    Levels levels =
        latticeLevels(latticeTimesteps(schedule, steps, "lcm"), cumulativeAlphas(schedule), 1);
    for (std::size_t i = 0; i + 1 < levels.fresh.size(); i++) {
        levels.fresh[i] = std::sqrt(1 - levels.after[i]);
    }
    return levels;
}

std::unique_ptr<Sampler::Aim> lcmAim(const Levels &levels) {
    return std::make_unique<Consistency>(levels.timesteps);
}

Levels tcdLevels(const Schedule &schedule, int steps, double gamma) {
    const std::vector<int> lattice = latticeTimesteps(schedule, steps, "tcd");
    const std::vector<double> alphas = cumulativeAlphas(schedule);
    Levels levels = latticeLevels(lattice, alphas, alphas.front());
    for (std::size_t i = 0; gamma > 0 && i + 1 < lattice.size(); i++) {
        const int jump = static_cast<int>(std::floor((1 - gamma) * lattice[i + 1]));
        levels.fresh[i] = std::sqrt(std::max(0.0, 1 - levels.after[i] / alphaBarAt(alphas, jump)));
    }
    return levels;
}

} // namespace magicmix
