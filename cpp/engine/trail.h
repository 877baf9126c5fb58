#pragma once

#include "diffusion/schedule.h"
#include "engine/request.h"
#include "mix/mixing.h"

#include <string>
#include <vector>

namespace magicmix {

/// A step of a mix, before it is taken.
struct PlannedStep {
    bool whole = true; ///< it computes the whole UNet, and needs nothing of the call before it
    /// All that the step depends on beside what the step before it has given and the options that
    /// `MixRequest::Sharing::root` stands for. Where its state is mixed first, that is a part of
    /// it.
    std::string of;
};

/// Are the prompts of a request guided at that timestep?
bool isGuided(const MixRequest &request, const Schedule &schedule, double timestep);

/// The steps of a mix from its first state to its last. Two mixes whose steps agree up to a state
/// have in common what the step before it gives.
struct Trail {
    Trail(const MixRequest &request, const Schedule &schedule);

    int steps; ///< N
    Mixing mixing;
    /// Of a layout prompt's run, N if it is scored: then its own picture is what the mix is
    /// compared with.
    int lastLayout;
    bool scored;
    std::vector<PlannedStep> layout;  ///< steps 0, 1, ... of the layout prompt's run, if it has one
    std::vector<PlannedStep> content; ///< steps iMax..N-1

    const PlannedStep &contentStep(int i) const {
        return content[static_cast<std::size_t>(i - mixing.iMax)];
    }
    /// Can a run begin with that state?
    bool canBeginContent(int i) const { return i == steps || contentStep(i).whole; }
    bool canBeginLayout(int i) const {
        const auto at = static_cast<std::size_t>(i);
        return at == layout.size() || layout[at].whole;
    }
};

} // namespace magicmix
