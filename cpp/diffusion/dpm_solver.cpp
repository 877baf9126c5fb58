#include "diffusion/dpm_solver.h"

#include <algorithm>
#include <cmath>

namespace magicmix {
namespace {

constexpr double kRho = 7;

std::vector<double> timestepsOf(const Schedule &schedule, int steps) {
    const std::vector<int> ofDdim = timesteps(schedule, steps);
    if (schedule.spacing == Schedule::Spacing::Trailing) return {ofDdim.begin(), ofDdim.end()};
    // Unlike DDIM's: N of N + 1 timesteps, the last of which is left out.
    const int all = schedule.trainingSteps;
    std::vector<double> result;
    for (int i = 0; i < steps; i++) {
        result.push_back(schedule.spacing == Schedule::Spacing::Leading
                             ? (steps - i) * (all / (steps + 1)) + schedule.stepsOffset
                             : std::nearbyint((steps - i) * ((all - 1.0) / steps)));
    }
    return result;
}

/// The timestep whose sigma is nearest: ln sigma lies linearly between two.
double timestepOf(double sigma, const std::vector<double> &table) {
    const auto above = std::lower_bound(table.begin(), table.end(), sigma);
    if (above == table.begin()) return 0;
    if (above == table.end()) return static_cast<double>(table.size()) - 1;
    const double low = std::log(*(above - 1)), high = std::log(*above);
    const double share = (std::log(sigma) - low) / (high - low);
    return std::nearbyint(static_cast<double>(above - 1 - table.begin()) + share);
}

double lambdaOf(double alpha) { return -0.5 * std::log(1 / alpha - 1); }

class SecondOrder final : public Sampler::Aim {
public:
    explicit SecondOrder(const Levels &levels) : levels_(levels) {}

    void correct(int i, const Latent &x, std::vector<double> &clean,
                 std::vector<double> &noise) override {
        const std::vector<double> current = clean;
        if (!last_.empty() && i + 1 < levels_.steps()) {
            const double factor = step(i) / (2 * step(i - 1));
            const double a = levels_.of[static_cast<std::size_t>(i)];
            for (std::size_t k = 0; k < clean.size(); k++) {
                clean[k] = current[k] + factor * (current[k] - last_[k]);
                noise[k] = (x[k] - std::sqrt(a) * clean[k]) / std::sqrt(1 - a);
            }
        }
        last_ = current;
    }

    void forget() override { last_.clear(); }
    std::vector<double> memory() const override { return last_; }
    void remember(const std::vector<double> &memory) override { last_ = memory; }

private:
    /// h_i
    double step(int i) const {
        const auto at = static_cast<std::size_t>(i);
        return lambdaOf(levels_.of[at + 1]) - lambdaOf(levels_.of[at]);
    }

    Levels levels_;
    std::vector<double> last_; ///< m of the step before; empty if there is none
};

} // namespace

Levels dpmSolverLevels(const Schedule &schedule, int steps, bool karras) {
    const std::vector<double> table = sigmas(schedule);
    std::vector<double> timesteps, of;
    if (karras) {
        const double most = std::pow(table.back(), 1 / kRho);
        const double least = std::pow(table.front(), 1 / kRho);
        for (int i = 0; i < steps; i++) {
            const double share = steps > 1 ? static_cast<double>(i) / (steps - 1) : 0;
            const double sigma = std::pow(most + share * (least - most), kRho);
            timesteps.push_back(timestepOf(sigma, table));
            of.push_back(alphaOfSigma(sigma));
        }
    } else {
        timesteps = timestepsOf(schedule, steps);
        for (const double t : timesteps) of.push_back(alphaOfSigma(interpolated(table, t)));
    }
    of.push_back(1);
    return Levels::between(std::move(timesteps), std::move(of));
}

std::unique_ptr<Sampler::Aim> dpmSolverAim(const Levels &levels) {
    return std::make_unique<SecondOrder>(levels);
}

} // namespace magicmix
