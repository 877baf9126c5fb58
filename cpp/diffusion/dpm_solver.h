#pragma once

#include "diffusion/sampler.h"

namespace magicmix {

/// DPM-Solver++(2M) (Lu et al. 2022, algorithm 2). With lambda = -ln sigma, h_i = lambda_i+1 -
/// lambda_i, and m_i the clean latent of step i, a step of second order makes for
///
///     D = m_i + h_i / (2 h_i-1) (m_i - m_i-1),   E = (x - sqrt(a) D) / sqrt(1 - a)
///
/// The last step, and one from a state that the step before did not give, are of first order: D =
/// m_i. `karras`: levels spaced as Karras et al. 2022 have it (equation 5, rho 7).
Levels dpmSolverLevels(const Schedule &schedule, int steps, bool karras);
std::unique_ptr<Sampler::Aim> dpmSolverAim(const Levels &levels);

} // namespace magicmix
