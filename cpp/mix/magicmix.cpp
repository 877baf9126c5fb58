#include "mix/magicmix.h"

#include "base/numbers.h"

#include <cmath>

namespace magicmix {

int indexAt(double k, int steps) {
    // 0.29 * 100 is 28.999999999999996 in binary, and means 29.
    return steps - static_cast<int>(std::floor(k * steps + 1e-9));
}

Layout pictureLayout(const Sampler &sampler, const Latent &z0, const Latent &noise) {
    return [&sampler, z0, noise](int i) { return sampler.noised(z0, noise, i); };
}

std::vector<Latent> promptLayout(Sampler &sampler, const Latent &noise, int last,
                                 const Denoise &layoutPrompt, const Observer &observe) {
    const auto run = sampler.begin();
    std::vector<Latent> states{noise};
    observe(0, noise, nullptr);
    for (int i = 0; i < last; i++) {
        Sampler::Step step = run->step(states.back(), i, layoutPrompt);
        states.push_back(std::move(step.next));
        observe(i + 1, states.back(), &step.clean);
    }
    return states;
}

Latent mixStates(Sampler &sampler, const Mixing &mixing, const Layout &layout,
                 const Denoise &contentPrompt, const Observer &observe) {
    const auto run = sampler.begin();
    Latent x = layout(mixing.iMax);
    observe(mixing.iMax, x, nullptr);
    for (int i = mixing.iMax; i < sampler.steps(); i++) {
        Sampler::Step step = run->step(x, i, contentPrompt);
        x = i + 1 < mixing.iMin ? interpolate(layout(i + 1), step.next, mixing.nu)
                                : std::move(step.next);
        observe(i + 1, x, &step.clean);
    }
    return x;
}

} // namespace magicmix
