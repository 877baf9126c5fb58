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

/// The prompts of a call, and that of guidance.
Description askedIn(const MixRequest &request, int i, bool guided, const std::string &prompts) {
    Description of;
    of.add(prompts);
    if (guided) of.add(negativePromptAt(request, i).of);
    return of;
}

/// Those of all contents.
std::string contentsOf(const MixRequest &request, int i) {
    Description of;
    for (std::size_t c = 0; c < request.contents.size(); c++) {
        of.add(contentPromptAt(request, i, c).of).add(contentScalesAt(request, i, c));
        of.add(request.contents[c].weight);
    }
    return of.text();
}

} // namespace

bool isGuided(const MixRequest &request, const Schedule &schedule, double timestep) {
    constexpr double tolerance = 1e-9;
    const double at = timestep / schedule.trainingSteps;
    const auto &[from, to] = request.guidanceInterval;
    return request.guidanceScale != 1 && at >= from - tolerance && at <= to + tolerance;
}

Trail::Trail(const MixRequest &request, const Schedule &schedule)
    : steps(request.steps), mixing(request.mixing()),
      lastLayout(request.score ? request.steps : mixing.lastLayout()), scored(request.score) {
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
    for (int i = 0; hasLayoutRun && i < lastLayout; i++) {
        const std::string prompt = layoutPromptAt(request, i).of;
        const bool whole =
            refreshes.isWhole(guidedAt(i), askedIn(request, i, guidedAt(i), prompt).text());
        Description of = callOf(request, i, guidedAt(i), whole);
        of.add(prompt);
        layout.push_back({whole, of.text()});
    }

    for (int i = mixing.iMax; i < steps; i++) {
        if (i == mixing.iMin) {
            refreshes.begin(request.cache.every);
        } else if (i == mixing.iMax) {
            refreshes.begin(request.cache.whileMixing);
        }
        const std::string prompts = contentsOf(request, i);
        const bool whole =
            refreshes.isWhole(guidedAt(i), askedIn(request, i, guidedAt(i), prompts).text());
        Description of = callOf(request, i, guidedAt(i), whole);
        of.add(prompts);
        if (i > mixing.iMax && i <= mixing.lastMixed()) {
            of.add(mixing.nuAt(i)).add(request.nuMap.number).add(request.kMaxMap.number);
            // A picture's states follow from the first; those of a prompt's run take steps.
            if (hasLayoutRun) of.add(layout[static_cast<std::size_t>(i - 1)].of);
        }
        content.push_back({whole, of.text()});
    }
}

} // namespace magicmix
