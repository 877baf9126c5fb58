#pragma once

#include "engine/networks.h"
#include "engine/reporter.h"
#include "engine/request.h"
#include "model/sessions.h"

#include <memory>
#include <vector>

namespace magicmix {

/// The denoiser of a mix: the UNet, called for the two prompts of guidance at once, or for the one
/// prompt where there is no guidance: if its scale is 1, or outside of its interval.
class GuidedUnet {
public:
    /// The sessions that a request takes to visit these timesteps.
    static std::vector<UNetUse> sessionsFor(const MixRequest &request, const Schedule &schedule,
                                            const std::vector<double> &timesteps);

    /// Everything that is passed outlives it.
    GuidedUnet(Networks &networks, const MixRequest &request, Reporter &reporter,
               const Cancellation &cancel);

    /// The negative prompt of the calls that follow.
    void setNegative(PromptPointer negative) { negative_ = std::move(negative); }

    /// What depends on the timesteps alone that will come is then computed at once.
    void prepare(const std::vector<double> &timesteps);

    /// The UNet's prediction from `latent`, as `prompt` makes it. `whole`: of the whole UNet; else
    /// of its outer blocks, with the features that the last whole call left. Throws `NOT_FINITE`.
    Latent denoise(const Latent &latent, double timestep, const PromptPointer &prompt, bool whole);

    /// Since it was made.
    const UNetCalls &calls() const { return calls_; }

private:
    /// A session, and the prompt whose keys and values lie in it.
    struct Call {
        std::unique_ptr<UNetSession> session;
        PromptPointer prompt, negative;
    };
    bool isGuidedAt(double timestep) const;
    Call &callAt(double timestep);
    void setPrompt(Call &call, const PromptPointer &prompt, bool guided);

    Networks &networks_;
    const MixRequest &request_;
    PromptPointer negative_;
    Reporter &reporter_;
    const Cancellation &cancel_;
    Call guided_, plain_; // made when the first step needs it
    UNetCalls calls_;
};

} // namespace magicmix
