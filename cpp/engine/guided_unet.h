#pragma once

#include "engine/networks.h"
#include "engine/reporter.h"
#include "engine/request.h"
#include "model/sessions.h"

#include <vector>

namespace magicmix {

/// The denoiser of a mix: the UNet, called for the two prompts of guidance at once, or for the one
/// prompt if guidance is 1.
class GuidedUnet {
public:
    /// Everything that is passed outlives it.
    GuidedUnet(Networks &networks, const MixRequest &request, const PromptContext &negative,
               Reporter &reporter, const Cancellation &cancel);

    /// Computes at once what depends on the timesteps alone that will come.
    void prepare(const std::vector<double> &timesteps) { session_.prepare(timesteps, cancel_); }

    /// The UNet's prediction from `latent`, as `prompt` makes it. Throws `NOT_FINITE`.
    Latent denoise(const Latent &latent, double timestep, const PromptPointer &prompt);

private:
    bool isGuided() const { return request_.guidanceScale != 1; }
    void setPrompt(const PromptPointer &prompt);

    const MixRequest &request_;
    UNetSession session_;
    const PromptContext &negative_;
    PromptPointer prompt_; // whose keys and values lie in the session
    Reporter &reporter_;
    const Cancellation &cancel_;
};

} // namespace magicmix
