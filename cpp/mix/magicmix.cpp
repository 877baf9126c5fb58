#include "mix/magicmix.h"

#include <cmath>

namespace magicmix {
namespace {

/// nu x + (1 - nu) layout
Latent interpolate(const Latent &x, const Latent &layout, double nu) {
    Latent mixed(x.size());
    for (std::size_t k = 0; k < mixed.size(); k++) {
        mixed[k] = static_cast<float>(nu * x[k] + (1 - nu) * layout[k]);
    }
    return mixed;
}

} // namespace

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
        x = i + 1 < mixing.iMin ? interpolate(step.next, layout(i + 1), mixing.nu)
                                : std::move(step.next);
        observe(i + 1, x, &step.clean);
    }
    return x;
}

} // namespace magicmix
