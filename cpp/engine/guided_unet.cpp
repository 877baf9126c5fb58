#include "engine/guided_unet.h"

#include "base/clock.h"
#include "diffusion/guidance.h"
#include "engine/trail.h"
#include "model/finite.h"

#include <set>

namespace magicmix {
namespace {

/// How many prompts such a call has with the negative one.
int countOf(const MixRequest &request, const Schedule &schedule, Visit visit) {
    return visit.prompts + (isGuided(request, schedule, visit.timestep) ? 1 : 0);
}

UNetUse useFor(const MixRequest &request, int prompts) {
    return {prompts, request.cache.isOn() ? request.cache.blocks : 0, request.pictureConditioning(),
            static_cast<int>(request.seeds.size())};
}

} // namespace

std::vector<UNetUse> GuidedUnet::sessionsFor(const MixRequest &request, const Schedule &schedule,
                                             const std::vector<Visit> &visits) {
    std::set<int> counts;
    for (const Visit &visit : visits) counts.insert(countOf(request, schedule, visit));
    std::vector<UNetUse> sessions;
    for (const int count : counts) sessions.push_back(useFor(request, count));
    return sessions;
}

GuidedUnet::GuidedUnet(Networks &networks, const MixRequest &request, Reporter &reporter,
                       const Cancellation &cancel)
    : networks_(networks), request_(request), reporter_(reporter), cancel_(cancel) {}

bool GuidedUnet::isGuidedAt(double timestep) const {
    return isGuided(request_, networks_.schedule(), timestep);
}

GuidedUnet::Call &GuidedUnet::callFor(Visit visit) {
    const int prompts = countOf(request_, networks_.schedule(), visit);
    Call &call = calls_[prompts];
    if (!call.session) {
        call.session = std::make_unique<UNetSession>(networks_.unet(), request_.size().cells(),
                                                     useFor(request_, prompts));
    }
    return call;
}

void GuidedUnet::prepare(const std::vector<Visit> &visits) {
    std::map<UNetSession *, std::vector<double>> timesteps;
    for (const Visit &visit : visits) {
        timesteps[callFor(visit).session.get()].push_back(visit.timestep);
    }
    for (const auto &[session, each] : timesteps) session->prepare(each);
}

void GuidedUnet::setPrompts(Call &call, std::vector<PromptPointer> prompts) {
    if (prompts == call.prompts) return;
    call.prompts = std::move(prompts);
    std::vector<const PromptContext *> contexts;
    for (const PromptPointer &prompt : call.prompts) contexts.push_back(prompt.get());
    call.session->setPrompts(contexts);
}

Latent GuidedUnet::denoise(const Latent &latent, double timestep, const Prompts &prompts,
                           bool whole) {
    const auto start = Clock::now();
    const bool guided = isGuidedAt(timestep);
    Call &call = callFor({timestep, static_cast<int>(prompts.prompts.size())});
    std::vector<PromptPointer> all = prompts.prompts;
    if (guided) all.insert(all.begin(), negative_);
    setPrompts(call, std::move(all));
    const std::vector<Latent> each = whole ? call.session->predict(latent, timestep, cancel_)
                                           : call.session->predictOuter(latent, timestep, cancel_);
    (whole ? counts_.full : counts_.cached)++;
    Latent predicted = weightedSum(each, guided ? 1 : 0, prompts.weights);
    if (guided) predicted = guide(each[0], predicted, request_.guidanceScale);
    requireFinite(predicted, "the UNet at timestep " + std::to_string(static_cast<int>(timestep)));
    if (!guided) counts_.unguided++;
    reporter_.unetStepTook(millisecondsSince(start));
    return predicted;
}

} // namespace magicmix
