#include "engine/guided_unet.h"

#include "base/clock.h"
#include "diffusion/guidance.h"
#include "model/finite.h"

namespace magicmix {

GuidedUnet::GuidedUnet(Networks &networks, const MixRequest &request, const PromptContext &negative,
                       Reporter &reporter, const Cancellation &cancel)
    : networks_(networks), request_(request), negative_(negative), reporter_(reporter),
      cancel_(cancel) {}

bool GuidedUnet::isGuidedAt(double timestep) const {
    constexpr double tolerance = 1e-9;
    const double at = timestep / networks_.schedule().trainingSteps;
    const auto &[from, to] = request_.guidanceInterval;
    return request_.guidanceScale != 1 && at >= from - tolerance && at <= to + tolerance;
}

GuidedUnet::Call &GuidedUnet::callAt(double timestep) {
    const bool guided = isGuidedAt(timestep);
    Call &call = guided ? guided_ : plain_;
    if (!call.session) {
        call.session = std::make_unique<UNetSession>(networks_.unet(), request_.size().cells(),
                                                     guided ? 2 : 1);
    }
    return call;
}

void GuidedUnet::prepare(const std::vector<double> &timesteps) {
    std::vector<double> guided, plain;
    for (const double t : timesteps) (isGuidedAt(t) ? guided : plain).push_back(t);
    for (const auto &some : {guided, plain}) {
        if (!some.empty()) callAt(some.front()).session->prepare(some, cancel_);
    }
}

void GuidedUnet::setPrompt(Call &call, const PromptPointer &prompt, bool guided) {
    if (prompt == call.prompt) return;
    call.prompt = prompt;
    if (guided) {
        call.session->setPrompts({&negative_, prompt.get()});
    } else {
        call.session->setPrompts({prompt.get()});
    }
}

Latent GuidedUnet::denoise(const Latent &latent, double timestep, const PromptPointer &prompt) {
    const auto start = Clock::now();
    const bool guided = isGuidedAt(timestep);
    Call &call = callAt(timestep);
    setPrompt(call, prompt, guided);
    std::vector<Latent> each = call.session->predict(latent, timestep, cancel_);
    Latent predicted =
        guided ? guide(each[0], each[1], request_.guidanceScale) : std::move(each[0]);
    requireFinite(predicted, "the UNet at timestep " + std::to_string(static_cast<int>(timestep)));
    reporter_.unetStepTook(millisecondsSince(start));
    return predicted;
}

} // namespace magicmix
