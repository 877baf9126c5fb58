#pragma once

#include "base/cancellation.h"
#include "base/latent.h"
#include "engine/networks.h"
#include "engine/request.h"
#include "model/sessions.h"

#include <functional>
#include <vector>

/// How much of its prompts and of its layout is in a mix, without another network: the UNet knows
/// what belongs to a prompt, and the latents show what has kept its place. No picture depends on
/// any of this. docs/studies/choosing.md has the study that the constants come from.
namespace magicmix {

/// What noise predictions for the empty prompt and for another one are to the noise that was added,
/// as sums of squares over all that was predicted.
struct PromptErrors {
    double empty = 0;   ///< |noise - predicted for the empty prompt|^2
    double prompt = 0;  ///< the same of the other
    double between = 0; ///< of the two predictions

    void add(const Latent &noise, const Latent &forEmpty, const Latent &forPrompt);
};

/// How much of a prompt is in a latent, 0..1, from its errors at a high and at a middling noise
/// level.
double presence(const PromptErrors &coarse, const PromptErrors &fine);

/// How much of the structure of a layout is in a mixed latent, 0..1; 1 of the layout itself.
double structureKept(const Latent &layout, const Latent &mixed, CellSize size);

/// The UNet as a judge of prompts.
class PromptJudge {
public:
    /// The session that it takes. `prompts`: how many, the empty one among them.
    static UNetUse useFor(const MixRequest &request, int prompts);

    /// `prompts`: the empty one, then those to be judged. Everything outlives it.
    PromptJudge(Networks &networks, const MixRequest &request,
                const std::vector<const PromptContext *> &prompts, const Cancellation &cancel);

    /// How much of every prompt is in a clean latent, in `kScoreCalls` calls of the UNet.
    /// `called(timestep)` comes after every call. Throws `NOT_FINITE`.
    std::vector<double> presences(const Latent &clean,
                                  const std::function<void(double timestep)> &called);

private:
    Networks &networks_;
    const Cancellation &cancel_;
    std::size_t prompts_;
    UNetSession session_;
};

} // namespace magicmix
