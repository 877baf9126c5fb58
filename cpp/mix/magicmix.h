#pragma once

#include "diffusion/sampler.h"
#include "mix/mixing.h"

#include <functional>
#include <vector>

/// MagicMix (Liew, Yan, Zhou and Feng 2022, arXiv 2210.16056), section 3.2, over any denoiser.
namespace magicmix {

/// The layout at state i, for iMax <= i <= lastLayout().
using Layout = std::function<Latent(int i)>;

/// Called with every state, and with the clean latent that the step before it predicted
/// (null for the first).
using Observer = std::function<void(int i, const Latent &state, const Latent *clean)>;
/// Called with what a step has given for state i, not mixed yet: from there another run can go on.
using Arrival = std::function<void(int i, const Latent &x, const Sampler::Run &run)>;

/// image-text: the layout is the picture's latent z0 with the noise e_i, of which steps that add
/// fresh noise replace a part; otherwise one noise serves every i.
Layout pictureLayout(Sampler &sampler, const Latent &z0, const Latent &noise, int iMax);

/// text-text: states 0..last of a plain run of the layout prompt. `states`: the first of them,
/// state 0 being pure noise; `run` goes on behind the last.
std::vector<Latent> promptLayout(Sampler::Run run, std::vector<Latent> states, int last,
                                 const Denoise &layoutPrompt, const Observer &observe,
                                 const Arrival &arrive);

/// To the mixed state N from `x`, which `run` has arrived with at state i; at iMax it is the
/// layout's.
Latent mixStates(Sampler::Run run, Latent x, int i, const Mixing &mixing, const Layout &layout,
                 const Denoise &contentPrompt, const Observer &observe, const Arrival &arrive);

} // namespace magicmix
