#pragma once

#include "diffusion/prediction.h"
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
    /// `negative`, `request` and `reporter` outlive it; `timesteps` are those that will be asked
    /// for.
    GuidedUnet(Networks &networks, const MixRequest &request, const PromptContext &negative,
               const std::vector<int> &timesteps, Reporter &reporter, const Cancellation &cancel);

    void setPrompt(const PromptContext &context);
    /// The noise in `latent`. Throws `NOT_FINITE`.
    Latent denoise(const Latent &latent, int timestep);

private:
    bool isGuided() const { return guidanceScale_ != 1; }

    Prediction prediction_;
    std::vector<double> alphas_;
    double guidanceScale_;
    UNetSession session_;
    const PromptContext &negative_;
    Reporter &reporter_;
    const Cancellation &cancel_;
};

} // namespace magicmix
