#include "mix/magicmix.h"

#include "base/numbers.h"

#include <cmath>

namespace magicmix {

int indexAt(double k, int steps) {
    // 0.29 * 100 is 28.999999999999996 in binary, and means 29.
    return steps - static_cast<int>(std::floor(k * steps + 1e-9));
}

Layout pictureLayout(Sampler &sampler, const Latent &z0, const Latent &noise, int iMax) {
    // e_i of the i that was asked for last; they come in their order
    return [&sampler, z0, e = noise, at = iMax](int i) mutable {
        for (; at < i; at++) e = sampler.renewed(e, at);
        return sampler.noised(z0, e, i);
    };
}

std::vector<Latent> promptLayout(Sampler::Run run, std::vector<Latent> states, int last,
                                 const Denoise &layoutPrompt, const Observer &observe) {
    for (int i = static_cast<int>(states.size()) - 1; i < last; i++) {
        Sampler::Step step = run.step(states.back(), i, layoutPrompt);
        states.push_back(std::move(step.next));
        observe(i + 1, states.back(), &step.clean, run);
    }
    return states;
}

Latent mixStates(Sampler::Run run, Latent x, int i, const Mixing &mixing, const Layout &layout,
                 const Denoise &contentPrompt, const Observer &observe) {
    for (; i < run.steps(); i++) {
        Sampler::Step step = run.step(x, i, contentPrompt);
        x = std::move(step.next);
        if (i + 1 < mixing.iMin) {
            x = interpolate(layout(i + 1), x, mixing.nu);
            run.forget(); // a mixed state has left the trajectory
        }
        observe(i + 1, x, &step.clean, run);
    }
    return x;
}

} // namespace magicmix
