#include "mix/magicmix.h"

#include "base/numbers.h"

#include <cmath>

namespace magicmix {

int indexAt(double k, int steps) {
    // 0.29 * 100 is 28.999999999999996 in binary, and means 29.
    return steps - static_cast<int>(std::floor(k * steps + 1e-9));
}

Layout pictureLayout(const Ddim &ddim, const Latent &z0, const Latent &noise) {
    return [&ddim, z0, noise](int i) { return ddim.noised(z0, noise, i); };
}

std::vector<Latent> promptLayout(Ddim &ddim, const Latent &noise, int last,
                                 const Denoise &layoutPrompt, const Observer &observe) {
    std::vector<Latent> states{noise};
    observe(0, noise, nullptr);
    for (int i = 0; i < last; i++) {
        Ddim::Step step = ddim.step(states.back(), i, layoutPrompt);
        states.push_back(std::move(step.next));
        observe(i + 1, states.back(), &step.clean);
    }
    return states;
}

Latent mixStates(Ddim &ddim, const Mixing &mixing, const Layout &layout,
                 const Denoise &contentPrompt, const Observer &observe) {
    Latent x = layout(mixing.iMax);
    observe(mixing.iMax, x, nullptr);
    for (int i = mixing.iMax; i < ddim.steps(); i++) {
        Ddim::Step step = ddim.step(x, i, contentPrompt);
        x = i + 1 < mixing.iMin ? interpolate(layout(i + 1), step.next, mixing.nu)
                                : std::move(step.next);
        observe(i + 1, x, &step.clean);
    }
    return x;
}

} // namespace magicmix
