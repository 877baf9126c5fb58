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

std::vector<Latent> promptLayout(Sampler &sampler, const Latent &noise, int last,
                                 const Denoise &layoutPrompt, const Observer &observe) {
    Sampler::Run run = sampler.run();
    std::vector<Latent> states{sampler.begun(noise)};
    observe(0, states.back(), nullptr);
    for (int i = 0; i < last; i++) {
        Sampler::Step step = run.step(states.back(), i, layoutPrompt);
        states.push_back(std::move(step.next));
        observe(i + 1, states.back(), &step.clean);
    }
    return states;
}

Latent mixStates(Sampler &sampler, const Mixing &mixing, const Layout &layout,
                 const Denoise &contentPrompt, const Observer &observe) {
    Sampler::Run run = sampler.run();
    Latent x = layout(mixing.iMax);
    observe(mixing.iMax, x, nullptr);
    for (int i = mixing.iMax; i < sampler.steps(); i++) {
        Sampler::Step step = run.step(x, i, contentPrompt);
        x = std::move(step.next);
        if (i + 1 < mixing.iMin) {
            x = interpolate(layout(i + 1), x, mixing.nu);
            run.forget(); // a mixed state has left the trajectory
        }
        observe(i + 1, x, &step.clean);
    }
    return x;
}

} // namespace magicmix
