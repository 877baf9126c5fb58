#include "diffusion/ddim.h"

#include <algorithm>
#include <cmath>

namespace magicmix {

Latent guide(const Latent &unconditional, const Latent &conditional, double guidanceScale) {
    const auto g = static_cast<float>(guidanceScale);
    Latent eps(conditional.size());
    for (std::size_t k = 0; k < eps.size(); k++) {
        eps[k] = unconditional[k] + g * (conditional[k] - unconditional[k]);
    }
    return eps;
}

Ddim::Ddim(int steps, double eta, Generator &generator)
    : schedule_(schedule(steps)), eta_(eta), generator_(generator) {}

int Ddim::timestep(int i) const {
    return i < steps() ? schedule_.timesteps[static_cast<std::size_t>(i)] : 0;
}

// a is alpha-bar at t_i, b at t_i+1; equations 12 and 16 of the paper.
Ddim::Step Ddim::step(const Latent &x, int i, const Denoise &denoise) {
    const auto at = static_cast<std::size_t>(i);
    const double a = schedule_.alphaBar[at], b = schedule_.alphaBarNext[at];
    const double sigma = eta_ * std::sqrt((1 - b) / (1 - a)) * std::sqrt(1 - a / b);
    const double direction = std::sqrt(std::max(0.0, 1 - b - sigma * sigma));

    const Latent eps = denoise(x, i, timestep(i));
    const Latent noise = eta_ > 0 ? generator_.randn(x.size()) : Latent{};
    Step result{Latent(x.size()), Latent(x.size())};
    for (std::size_t k = 0; k < x.size(); k++) {
        const double clean = (x[k] - std::sqrt(1 - a) * eps[k]) / std::sqrt(a);
        double next = std::sqrt(b) * clean + direction * eps[k];
        if (eta_ > 0) next += sigma * noise[k];
        result.clean[k] = static_cast<float>(clean);
        result.next[k] = static_cast<float>(next);
    }
    return result;
}

Latent Ddim::noised(const Latent &clean, const Latent &noise, int i) const {
    const double a = schedule_.alphaBar[static_cast<std::size_t>(i)];
    Latent x(clean.size());
    for (std::size_t k = 0; k < x.size(); k++) {
        x[k] = static_cast<float>(std::sqrt(a) * clean[k] + std::sqrt(1 - a) * noise[k]);
    }
    return x;
}

} // namespace magicmix
