#include "engine/trail.h"

#include "diffusion/samplers.h"

namespace magicmix {
namespace {

/// Some values one behind the other, each with its length.
class Description {
public:
    template <typename T>
    Description &add(const std::vector<T> &values) {
        const std::size_t bytes = values.size() * sizeof(T);
        text_.append(reinterpret_cast<const char *>(&bytes), sizeof bytes);
        text_.append(reinterpret_cast<const char *>(values.data()), bytes);
        return *this;
    }
    Description &add(const std::string &text) {
        return add(std::vector<char>(text.begin(), text.end()));
    }
    Description &add(double value) { return add(std::vector<double>{value}); }
    const std::string &text() const { return text_; }

private:
    std::string text_;
};

/// Says of each call of a run whether it computes the whole UNet: the first, one in so many, and
/// those that could not use the features of the call before them.
class Refreshes {
public:
    /// The next call is whole, and from then on one in `every`.
    void begin(int every) {
        every_ = every;
        reuses_ = 0;
    }
    bool isWhole(bool guided, const std::vector<float> &scales) {
        if (guided != guided_ || scales != scales_) reuses_ = 0;
        guided_ = guided;
        scales_ = scales;
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
    std::vector<float> scales_; // of the prompt's tokens
};

/// What a call depends on beside its latent, its timestep and its prompt.
Description callOf(const MixRequest &request, bool guided, bool whole) {
    Description of;
    of.add(whole ? 1 : 0).add(request.cache.isOn() ? request.cache.blocks : 0);
    of.add(guided ? 1 : 0);
    if (guided) of.add(request.guidanceScale).add(request.negativePrompt);
    const PictureConditioning told = request.pictureConditioning();
    of.add(std::vector<int>{told.originalHeight, told.originalWidth, told.cropTop, told.cropLeft,
                            told.targetHeight, told.targetWidth});
    return of;
}

/// What the contents' prompts depend on beside the scales of their tokens.
void addContents(const MixRequest &request, Description &of) {
    for (const MixRequest::Content &content : request.contents) {
        of.add(content.tokens).add(content.weight);
    }
    of.add(request.interpolate ? 1 : 0);
    if (const auto &other = request.interpolate) of.add(other->tokens).add(other->weight);
}

/// The scales of all contents' tokens.
std::vector<float> scalesAt(const MixRequest &request, int i) {
    std::vector<float> all;
    for (const MixRequest::Content &content : request.contents) {
        const std::vector<float> scales = tokenScalesAt(content.attention, i, request.steps);
        all.insert(all.end(), scales.begin(), scales.end());
    }
    return all;
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
        const bool whole = refreshes.isWhole(guidedAt(i), {});
        Description of = callOf(request, guidedAt(i), whole);
        of.add(request.layout.tokens);
        layout.push_back({whole, of.text()});
    }

    for (int i = mixing.iMax; i < steps; i++) {
        if (i == mixing.iMin) {
            refreshes.begin(request.cache.every);
        } else if (i == mixing.iMax) {
            refreshes.begin(request.cache.whileMixing);
        }
        const std::vector<float> scales = scalesAt(request, i);
        const bool whole = refreshes.isWhole(guidedAt(i), scales);
        Description of = callOf(request, guidedAt(i), whole);
        of.add(scales);
        addContents(request, of);
        if (i > mixing.iMax && i <= mixing.lastMixed()) {
            of.add(mixing.nuAt(i)).add(request.nuMap.number).add(request.kMaxMap.number);
            // A picture's states follow from the first; those of a prompt's run take steps.
            if (hasLayoutRun) of.add(layout[static_cast<std::size_t>(i - 1)].of);
        }
        content.push_back({whole, of.text()});
    }
}

} // namespace magicmix
