#pragma once

#include "base/latent.h"
#include "diffusion/levels.h"
#include "diffusion/step_noise.h"

#include <functional>
#include <memory>
#include <optional>
#include <vector>

namespace magicmix {

/// The network's prediction from a latent at step `index` of the sampler, whose timestep is
/// `timestep`, after classifier-free guidance.
using Denoise = std::function<Latent(const Latent &latent, int index, double timestep)>;

/// A way through the noise in N steps. State i, 0 <= i <= N, is a latent of level a_i: state 0 is
/// pure noise, state N clean. Step i takes state i, of level a, to level b:
///
///     x' = sqrt(b) D + sqrt(1 - b - w^2) E + w n_i
///
/// D and E are the clean latent and the noise that the network's prediction says (Song et al. 2021,
/// equation 12), unless the sampler's `Aim` puts others in their place. n_i is fresh noise.
class Sampler {
public:
    /// What a step makes for, where that is not what the network says.
    class Aim {
    public:
        virtual ~Aim() = default;
        /// Changes D and E, given as the clean latent and the noise, of step `i` from state `x`.
        virtual void correct(int i, const Latent &x, std::vector<double> &clean,
                             std::vector<double> &noise) = 0;
        /// The next state is not what the last step gave: what is known of that is of no use.
        virtual void forget() {}
        /// What it remembers of earlier steps; another aim that is given it goes on in its place.
        virtual std::vector<double> memory() const { return {}; }
        virtual void remember(const std::vector<double> &) {}
    };
    using MakeAim = std::function<std::unique_ptr<Aim>(const Levels &levels)>;

    /// `noise` outlives the sampler. Throws `MODEL_UNSUPPORTED` for a model of noise whose schedule
    /// begins without a signal. `clipRange`: the clean latent is cut off there on both sides.
    Sampler(Levels levels, Prediction prediction, std::optional<double> clipRange, StepNoise &noise,
            MakeAim makeAim = nullptr);

    int steps() const { return levels_.steps(); }
    /// t_i, or 0 for the clean latent at i = N.
    double timestep(int i) const;
    /// State 0 of a run from noise.
    Latent begun(Latent noise) const;
    /// State i of a known clean latent and its noise.
    Latent noised(const Latent &clean, const Latent &noise, int i) const;
    /// The noise of state i + 1 if that of state i is `noise` and the clean latent stays: step i
    /// replaces a part of it.
    Latent renewed(const Latent &noise, int i);

    struct Step {
        Latent next;  ///< state i + 1
        Latent clean; ///< the clean latent that state i and its noise predict
    };
    /// Steps one after the other, from whatever state the first is given. A layout's run and a
    /// content's share nothing but the fresh noise. The sampler outlives its runs.
    class Run {
    public:
        explicit Run(Sampler &sampler);
        int steps() const { return sampler_.steps(); }
        Step step(const Latent &x, int i, const Denoise &denoise);
        /// To be called where the next state is another than the last step gave.
        void forget();
        /// All that a run knows beside its state: one that remembers it goes on in its place.
        std::vector<double> memory() const;
        void remember(const std::vector<double> &memory);

    private:
        Sampler &sampler_;
        std::unique_ptr<Aim> aim_; // null: what the network says
    };
    Run run() { return Run(*this); }

private:
    Levels levels_;
    Prediction prediction_;
    std::optional<double> clipRange_;
    StepNoise &noise_;
    MakeAim makeAim_;
};

} // namespace magicmix
