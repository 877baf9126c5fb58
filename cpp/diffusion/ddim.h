#pragma once

#include "base/latent.h"
#include "diffusion/random.h"
#include "diffusion/schedule.h"

#include <functional>
#include <vector>

namespace magicmix {

/// The noise in a latent at step `index` of the sampler, whose timestep is `timestep`, after
/// classifier-free guidance.
using Denoise = std::function<Latent(const Latent &latent, int index, int timestep)>;

/// eps_uncond + g (eps_cond - eps_uncond) (Ho and Salimans 2022)
Latent guide(const Latent &unconditional, const Latent &conditional, double guidanceScale);

/// DDIM (Song et al. 2021) over the schedule of N steps: step i takes the latent at t_i to t_i+1.
class Ddim {
public:
    /// `eta` 0 is deterministic; else every step draws its noise from `generator`.
    Ddim(int steps, double eta, Generator &generator);

    int steps() const { return static_cast<int>(schedule_.timesteps.size()); }
    /// t_i, or 0 for the clean latent at i = N.
    int timestep(int i) const;

    struct Step {
        Latent next;  ///< x_i+1
        Latent clean; ///< the clean latent that x_i and eps predict
    };
    Step step(const Latent &x, int i, const Denoise &denoise);

    /// sqrt(a_i) clean + sqrt(1 - a_i) noise: the latent at t_i of a known clean one.
    Latent noised(const Latent &clean, const Latent &noise, int i) const;

private:
    Schedule schedule_;
    double eta_;
    Generator &generator_;
};

} // namespace magicmix
