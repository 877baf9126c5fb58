#pragma once

#include "diffusion/prediction.h"

#include <optional>
#include <string>
#include <vector>

namespace magicmix {

/// How noise was added in training, and which of its timesteps a sampler visits: diffusers'
/// scheduler_config.json as a value. The defaults are those of Stable Diffusion 1.x and 2.x.
struct Schedule {
    /// How the betas lie between `betaStart` and `betaEnd`: evenly, or evenly in their roots.
    enum class Betas { Linear, ScaledLinear };
    /// Which N of the training timesteps are visited: multiples of floor(T / N) from 0 on, the same
    /// down from T, or N numbers spread evenly over 0..T - 1.
    enum class Spacing { Leading, Trailing, Linspace };
    /// Cumulative alpha behind the last step: that of timestep 0, or 1, which is no noise at all.
    enum class FinalLevel { First, One };

    int trainingSteps = 1000; ///< T
    Betas betas = Betas::ScaledLinear;
    double betaStart = 0.00085, betaEnd = 0.012;
    bool zeroTerminalSnr =
        false; ///< rescaled so that timestep T - 1 is pure noise (Lin et al. 2023)
    Spacing spacing = Spacing::Leading;
    int stepsOffset = 1; ///< added to leading timesteps
    FinalLevel finalLevel = FinalLevel::First;
    /// The predicted clean latent is cut off there on both sides, as models of pixels want it.
    std::optional<double> clipRange;
    std::optional<Prediction> prediction; ///< empty while it is not known
};

/// By their names in scheduler_config.json: "linear", "scaled_linear"; "leading", "trailing",
/// "linspace". Throw `MODEL_UNSUPPORTED` for others.
Schedule::Betas parseBetas(const std::string &name);
Schedule::Spacing parseSpacing(const std::string &name);
const char *spacingName(Schedule::Spacing spacing);

/// Cumulative alpha at every training timestep.
std::vector<double> cumulativeAlphas(const Schedule &schedule);
/// The same at one timestep, 0..T - 1. Throws `INVALID_ARGUMENT` for others.
double alphaBarAt(const std::vector<double> &alphas, int timestep);

/// The timesteps t_0 > t_1 > ... of N steps. Throws `INVALID_ARGUMENT` if there are not so many.
std::vector<int> timesteps(const Schedule &schedule, int steps);

} // namespace magicmix
