#include "engine/trail.h"

#include "diffusion/samplers.h"
#include "engine/description.h"
#include "engine/step_prompts.h"

namespace magicmix {
namespace {

/// Says of each call of a run whether it computes the whole UNet: the first, one in so many, and
/// those that could not use the features of the call before them.
class Refreshes {
public:
    /// The next call is whole, and from then on one in `every`.
    void begin(int every) {
        every_ = every;
        reuses_ = 0;
    }
    /// `asked`: describes the prompts of the call.
    bool isWhole(bool guided, const std::string &asked) {
        if (guided != guided_ || asked != asked_) reuses_ = 0;
        guided_ = guided;
        asked_ = asked;
        if (reuses_ == 0) {
            reuses_ = every_ - 1;
            return true;
        }
        reuses_--;
        return false;
    }

private:
    int every_ = 1, reuses_ = 0;
    bool guided_ = false;
    std::string asked_;
};

/// What a call depends on beside its latent, its timestep and its prompt.
Description callOf(const MixRequest &request, int i, bool guided, bool whole) {
    Description of;
    of.add(whole ? 1 : 0).add(request.cache.isOn() ? request.cache.blocks : 0);
    of.add(guided ? 1 : 0);
    if (guided) of.add(request.guidanceScale).add(negativePromptAt(request, i).of);
    const PictureConditioning told = request.pictureConditioning();
    of.add(std::vector<int>{told.originalHeight, told.originalWidth, told.cropTop, told.cropLeft,
                            told.targetHeight, told.targetWidth});
    return of;
}

/// The prompts of a call: `prompt`'s, and that of guidance.
Description askedIn(const MixRequest &request, int i, bool guided, const StepPrompt &prompt,
                    const std::vector<float> &scales) {
    Description of;
    of.add(prompt.of).add(scales);
    if (guided) of.add(negativePromptAt(request, i).of);
    return of;
}

} // namespace

bool isGuided(const MixRequest &request, const Schedule &schedule, double timestep) {
    constexpr double tolerance = 1e-9;
    const double at = timestep / schedule.trainingSteps;
    const auto &[from, to] = request.guidanceInterval;
    return request.guidanceScale != 1 && at >= from - tolerance && at <= to + tolerance;
}

Trail::Trail(const MixRequest &request, const Schedule &schedule)
    : steps(request.steps), mixing(request.kMin, request.kMax, request.nu, request.steps) {
    const std::vector<double> timesteps =
        samplerLevels({request.sampler, request.steps, request.spacing, request.eta, request.gamma},
                      schedule)
            .timesteps;
    const auto guidedAt = [&](int i) {
        return magicmix::isGuided(request, schedule, timesteps[static_cast<std::size_t>(i)]);
    };

    Refreshes refreshes;
    refreshes.begin(request.cache.every);
    const bool hasLayoutRun = request.layout.isPrompt();
    for (int i = 0; hasLayoutRun && i < mixing.lastLayout(); i++) {
        const StepPrompt prompt = layoutPromptAt(request, i);
        const bool whole =
            refreshes.isWhole(guidedAt(i), askedIn(request, i, guidedAt(i), prompt, {}).text());
        Description of = callOf(request, i, guidedAt(i), whole);
        of.add(prompt.of);
        layout.push_back({whole, of.text()});
    }

    for (int i = mixing.iMax; i < steps; i++) {
        if (i == mixing.iMin) {
            refreshes.begin(request.cache.every);
        } else if (i == mixing.iMax) {
            refreshes.begin(request.cache.whileMixing);
        }
        const std::vector<float> scales = contentScalesAt(request, i);
        const StepPrompt prompt = contentPromptAt(request, i);
        const bool whole =
            refreshes.isWhole(guidedAt(i), askedIn(request, i, guidedAt(i), prompt, scales).text());
        Description of = callOf(request, i, guidedAt(i), whole);
        of.add(scales).add(prompt.of);
        if (i > mixing.iMax && i < mixing.iMin) {
            of.add(mixing.nu);
            // A picture's states follow from the first; those of a prompt's run take steps.
            if (hasLayoutRun) of.add(layout[static_cast<std::size_t>(i - 1)].of);
        }
        content.push_back({whole, of.text()});
    }
}

} // namespace magicmix
