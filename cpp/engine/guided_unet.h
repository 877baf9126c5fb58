#pragma once

#include "engine/networks.h"
#include "engine/reporter.h"
#include "engine/request.h"
#include "model/sessions.h"

#include <map>
#include <memory>
#include <vector>

namespace magicmix {

/// Prompts whose predictions are added up, each with its weight; the weights' sum is 1.
struct Prompts {
    std::vector<PromptPointer> prompts;
    std::vector<double> weights;
};

/// A call that will come.
struct Visit {
    double timestep = 0;
    int prompts = 1; ///< beside the negative one
};

/// The denoiser of a mix: the UNet, called for all prompts at once: those that are added up, and
/// the negative one where there is guidance, that is, if its scale is not 1 and within its
/// interval.
class GuidedUnet {
public:
    /// The sessions that a request takes for these calls.
    static std::vector<UNetUse> sessionsFor(const MixRequest &request, const Schedule &schedule,
                                            const std::vector<Visit> &visits);

    /// Everything that is passed outlives it.
    GuidedUnet(Networks &networks, const MixRequest &request, Reporter &reporter,
               const Cancellation &cancel);

    /// The negative prompt of the calls that follow.
    void setNegative(PromptPointer negative) { negative_ = std::move(negative); }

    /// What depends on the timesteps alone that will come is then computed at once.
    void prepare(const std::vector<Visit> &visits);

    /// The UNet's prediction from `latent`, as `prompts` make it. `whole`: of the whole UNet; else
    /// of its outer blocks, with the features that the last whole call left. Throws `NOT_FINITE`.
    Latent denoise(const Latent &latent, double timestep, const Prompts &prompts, bool whole);

    /// Since it was made.
    const UNetCalls &calls() const { return counts_; }

private:
    /// A session, and the prompts whose keys and values lie in it.
    struct Call {
        std::unique_ptr<UNetSession> session;
        std::vector<PromptPointer> prompts;
    };
    bool isGuidedAt(double timestep) const;
    Call &callFor(Visit visit);
    static void setPrompts(Call &call, std::vector<PromptPointer> prompts);

    Networks &networks_;
    const MixRequest &request_;
    PromptPointer negative_;
    Reporter &reporter_;
    const Cancellation &cancel_;
    std::map<int, Call> calls_; // by number of prompts; made when the first step needs it
    UNetCalls counts_;
};

} // namespace magicmix
