#include "engine/guided_unet.h"

#include "base/clock.h"
#include "diffusion/guidance.h"
#include "model/finite.h"

namespace magicmix {

GuidedUnet::GuidedUnet(Networks &networks, const MixRequest &request, const PromptContext &negative,
                       Reporter &reporter, const Cancellation &cancel)
    : request_(request), session_(networks.unet(), request.size().cells(), isGuided() ? 2 : 1),
      negative_(negative), reporter_(reporter), cancel_(cancel) {}

void GuidedUnet::setPrompt(const PromptPointer &prompt) {
    if (prompt == prompt_) return;
    prompt_ = prompt;
    if (isGuided()) {
        session_.setPrompts({&negative_, prompt.get()});
    } else {
        session_.setPrompts({prompt.get()});
    }
}

Latent GuidedUnet::denoise(const Latent &latent, double timestep, const PromptPointer &prompt) {
    const auto start = Clock::now();
    setPrompt(prompt);
    std::vector<Latent> each = session_.predict(latent, timestep, cancel_);
    Latent guided =
        isGuided() ? guide(each[0], each[1], request_.guidanceScale) : std::move(each[0]);
    requireFinite(guided, "the UNet at timestep " + std::to_string(static_cast<int>(timestep)));
    reporter_.unetStepTook(millisecondsSince(start));
    return guided;
}

} // namespace magicmix
