#include "mix/magicmix.h"

namespace magicmix {

Layout pictureLayout(Sampler &sampler, const Latent &z0, const Latent &noise, int iMax) {
    // e_i of the i that was asked for last; they come in their order
    return [&sampler, z0, e = noise, at = iMax](int i) mutable {
        for (; at < i; at++) e = sampler.renewed(e, at);
        return sampler.noised(z0, e, i);
    };
}

std::vector<Latent> promptLayout(Sampler::Run run, std::vector<Latent> states, int last,
                                 const Denoise &layoutPrompt, const Observer &observe,
                                 const Arrival &arrive) {
    if (states.size() == 1) observe(0, states.back(), nullptr);
    for (int i = static_cast<int>(states.size()) - 1; i < last; i++) {
        Sampler::Step step = run.step(states.back(), i, layoutPrompt);
        states.push_back(std::move(step.next));
        arrive(i + 1, states.back(), run);
        observe(i + 1, states.back(), &step.clean);
    }
    return states;
}

Latent mixStates(Sampler::Run run, Latent x, int i, const Mixing &mixing, const Layout &layout,
                 const Denoise &contentPrompt, const Observer &observe, const Arrival &arrive) {
    for (Latent clean;; i++) {
        if (mixing.mixesAt(i)) {
            x = mixing.mixed(i, layout(i), x);
            run.forget(); // a mixed state has left the trajectory
        }
        observe(i, x, clean.empty() ? nullptr : &clean);
        if (i == run.steps()) return x;
        Sampler::Step step = run.step(x, i, contentPrompt);
        x = std::move(step.next);
        clean = std::move(step.clean);
        arrive(i + 1, x, run);
    }
}

} // namespace magicmix
