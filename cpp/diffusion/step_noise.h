#pragma once

#include "base/latent.h"
#include "diffusion/random.h"

#include <cstddef>
#include <vector>

namespace magicmix {

/// The fresh noise n_i of step i, one draw for each step in their order from the first on. It
/// belongs to the step and not to a run: the layout's run and the content's add the same, or a
/// mixed state would have less noise than its level says.
class StepNoise {
public:
    /// Of steps `first`, `first` + 1, ...; of every seed `count` numbers each. `generators` outlive
    /// this.
    StepNoise(Generators &generators, std::size_t count, int first)
        : generators_(generators), count_(count), first_(first) {}

    const Latent &at(int i) {
        const auto index = static_cast<std::size_t>(i - first_);
        while (drawn_.size() <= index) drawn_.push_back(generators_.randn(count_));
        return drawn_[index];
    }

private:
    Generators &generators_;
    std::size_t count_;
    int first_;
    std::vector<Latent> drawn_;
};

} // namespace magicmix
