#pragma once

#include "diffusion/random.h"
#include "diffusion/sampler.h"
#include "diffusion/schedule.h"

#include <vector>

namespace magicmix {

/// Where the N steps of DDIM lead.
struct DdimLevels {
    std::vector<int> timesteps;       ///< t_0 > t_1 > ...
    std::vector<double> alphaBar;     ///< cumulative alpha at t_i
    std::vector<double> alphaBarNext; ///< cumulative alpha after step i
};
DdimLevels ddimLevels(const Schedule &schedule, int steps);

/// DDIM (Song et al. 2021): step i takes the latent at t_i to t_i+1.
class Ddim final : public Sampler {
public:
    /// `eta` 0 is deterministic; else every step draws its noise from `generator`. Throws
    /// `MODEL_UNSUPPORTED` for a model of noise whose schedule begins without a signal.
    Ddim(const Schedule &schedule, int steps, double eta, Generator &generator);

    int steps() const override { return static_cast<int>(levels_.timesteps.size()); }
    int timestep(int i) const override;
    /// sqrt(a_i) clean + sqrt(1 - a_i) noise
    Latent noised(const Latent &clean, const Latent &noise, int i) const override;
    std::unique_ptr<Run> begin() override;

private:
    class DdimRun;

    DdimLevels levels_;
    Prediction prediction_;
    std::optional<double> clipRange_;
    double eta_;
    Generator &generator_;
};

} // namespace magicmix
