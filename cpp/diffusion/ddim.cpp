#include "diffusion/ddim.h"

#include "base/error.h"

#include <algorithm>
#include <cmath>

namespace magicmix {

DdimLevels ddimLevels(const Schedule &schedule, int steps) {
    const std::vector<double> alphas = cumulativeAlphas(schedule);
    const bool endsAtOne = schedule.finalLevel == Schedule::FinalLevel::One;
    DdimLevels levels;
    levels.timesteps = timesteps(schedule, steps);
    for (const int t : levels.timesteps) {
        const int next = t - schedule.trainingSteps / steps;
        levels.alphaBar.push_back(alphaBarAt(alphas, t));
        levels.alphaBarNext.push_back(next >= 0 ? alphaBarAt(alphas, next)
                                                : (endsAtOne ? 1 : alphas.front()));
    }
    return levels;
}

Ddim::Ddim(const Schedule &schedule, int steps, double eta, Generator &generator)
    : levels_(ddimLevels(schedule, steps)),
      prediction_(schedule.prediction.value_or(Prediction::Noise)), clipRange_(schedule.clipRange),
      eta_(eta), generator_(generator) {
    if (prediction_ != Prediction::Noise || levels_.alphaBar.front() > 0) return;
    throw Error("MODEL_UNSUPPORTED",
                "the schedule begins without any signal (rescale_betas_zero_snr), where the noise "
                "that this model predicts (epsilon) says nothing; such a model predicts velocity "
                "(v_prediction)");
}

int Ddim::timestep(int i) const {
    return i < steps() ? levels_.timesteps[static_cast<std::size_t>(i)] : 0;
}

Latent Ddim::noised(const Latent &clean, const Latent &noise, int i) const {
    const double a = levels_.alphaBar[static_cast<std::size_t>(i)];
    Latent x(clean.size());
    for (std::size_t k = 0; k < x.size(); k++) {
        x[k] = static_cast<float>(std::sqrt(a) * clean[k] + std::sqrt(1 - a) * noise[k]);
    }
    return x;
}

class Ddim::DdimRun final : public Sampler::Run {
public:
    explicit DdimRun(Ddim &ddim) : ddim_(ddim) {}

    // a is alpha-bar at t_i, b at t_i+1; equations 12 and 16 of the paper.
    Step step(const Latent &x, int i, const Denoise &denoise) override {
        const auto at = static_cast<std::size_t>(i);
        const double a = ddim_.levels_.alphaBar[at], b = ddim_.levels_.alphaBarNext[at];
        const double eta = ddim_.eta_;
        const double sigma = eta * std::sqrt((1 - b) / (1 - a)) * std::sqrt(1 - a / b);
        const double direction = std::sqrt(std::max(0.0, 1 - b - sigma * sigma));

        const Latent predicted = denoise(x, i, ddim_.timestep(i));
        const Latent noise = eta > 0 ? ddim_.generator_.randn(x.size()) : Latent{};
        Step result{Latent(x.size()), Latent(x.size())};
        for (std::size_t k = 0; k < x.size(); k++) {
            auto [clean, eps] = Denoised(ddim_.prediction_, predicted[k], x[k], a);
            if (ddim_.clipRange_) clean = std::clamp(clean, -*ddim_.clipRange_, *ddim_.clipRange_);
            double next = std::sqrt(b) * clean + direction * eps;
            if (eta > 0) next += sigma * noise[k];
            result.clean[k] = static_cast<float>(clean);
            result.next[k] = static_cast<float>(next);
        }
        return result;
    }

private:
    Ddim &ddim_;
};

std::unique_ptr<Sampler::Run> Ddim::begin() { return std::make_unique<DdimRun>(*this); }

} // namespace magicmix
