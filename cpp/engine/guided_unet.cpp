#include "engine/guided_unet.h"

#include "base/clock.h"
#include "diffusion/guidance.h"
#include "engine/trail.h"
#include "model/finite.h"

#include <algorithm>

namespace magicmix {
namespace {

UNetUse useFor(const MixRequest &request, bool guided) {
    return {guided ? 2 : 1, request.cache.isOn() ? request.cache.blocks : 0,
            request.pictureConditioning()};
}

} // namespace

std::vector<UNetUse> GuidedUnet::sessionsFor(const MixRequest &request, const Schedule &schedule,
                                             const std::vector<double> &timesteps) {
    std::vector<UNetUse> sessions;
    for (const bool guided : {true, false}) {
        const auto isSo = [&](double t) { return isGuided(request, schedule, t) == guided; };
        if (std::any_of(timesteps.begin(), timesteps.end(), isSo)) {
            sessions.push_back(useFor(request, guided));
        }
    }
    return sessions;
}

GuidedUnet::GuidedUnet(Networks &networks, const MixRequest &request, Reporter &reporter,
                       const Cancellation &cancel)
    : networks_(networks), request_(request), reporter_(reporter), cancel_(cancel) {}

bool GuidedUnet::isGuidedAt(double timestep) const {
    return isGuided(request_, networks_.schedule(), timestep);
}

GuidedUnet::Call &GuidedUnet::callAt(double timestep) {
    const bool guided = isGuidedAt(timestep);
    Call &call = guided ? guided_ : plain_;
    if (!call.session) {
        call.session = std::make_unique<UNetSession>(networks_.unet(), request_.size().cells(),
                                                     useFor(request_, guided));
    }
    return call;
}

void GuidedUnet::prepare(const std::vector<double> &timesteps) {
    std::vector<double> guided, plain;
    for (const double t : timesteps) (isGuidedAt(t) ? guided : plain).push_back(t);
    for (const auto &some : {guided, plain}) {
        if (!some.empty()) callAt(some.front()).session->prepare(some);
    }
}

void GuidedUnet::setPrompt(Call &call, const PromptPointer &prompt, bool guided) {
    if (prompt == call.prompt && (!guided || negative_ == call.negative)) return;
    call.prompt = prompt;
    call.negative = negative_;
    if (guided) {
        call.session->setPrompts({negative_.get(), prompt.get()});
    } else {
        call.session->setPrompts({prompt.get()});
    }
}

Latent GuidedUnet::denoise(const Latent &latent, double timestep, const PromptPointer &prompt,
                           bool whole) {
    const auto start = Clock::now();
    const bool guided = isGuidedAt(timestep);
    Call &call = callAt(timestep);
    setPrompt(call, prompt, guided);
    std::vector<Latent> each = whole ? call.session->predict(latent, timestep, cancel_)
                                     : call.session->predictOuter(latent, timestep, cancel_);
    (whole ? calls_.full : calls_.cached)++;
    Latent predicted =
        guided ? guide(each[0], each[1], request_.guidanceScale) : std::move(each[0]);
    requireFinite(predicted, "the UNet at timestep " + std::to_string(static_cast<int>(timestep)));
    if (!guided) calls_.unguided++;
    reporter_.unetStepTook(millisecondsSince(start));
    return predicted;
}

} // namespace magicmix
