#pragma once

#include "base/latent.h"

#include <functional>
#include <memory>

namespace magicmix {

/// The network's prediction from a latent at step `index` of the sampler, whose timestep is
/// `timestep`, after classifier-free guidance.
using Denoise = std::function<Latent(const Latent &latent, int index, int timestep)>;

/// A way through the noise in N steps. State i, 0 <= i <= N, is a latent at t_i: state 0 is pure
/// noise, state N clean; step i takes state i to state i + 1.
class Sampler {
public:
    virtual ~Sampler() = default;

    virtual int steps() const = 0;
    /// t_i, or 0 for the clean latent at i = N.
    virtual int timestep(int i) const = 0;
    /// State i of a known clean latent and its noise.
    virtual Latent noised(const Latent &clean, const Latent &noise, int i) const = 0;

    struct Step {
        Latent next;  ///< state i + 1
        Latent clean; ///< the clean latent that state i and its noise predict
    };
    /// Steps one after the other, from whatever state the first is given. A sampler that remembers
    /// earlier steps does so in its runs, so that a layout's run and a content's share nothing.
    class Run {
    public:
        virtual ~Run() = default;
        virtual Step step(const Latent &x, int i, const Denoise &denoise) = 0;
    };
    /// The sampler outlives its runs.
    virtual std::unique_ptr<Run> begin() = 0;
};

} // namespace magicmix
