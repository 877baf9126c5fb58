#include "diffusion/sampler.h"

#include "base/error.h"

#include <algorithm>
#include <cmath>

namespace magicmix {

Sampler::Sampler(Levels levels, Prediction prediction, std::optional<double> clipRange,
                 StepNoise &noise, MakeAim makeAim)
    : levels_(std::move(levels)), prediction_(prediction), clipRange_(clipRange), noise_(noise),
      makeAim_(std::move(makeAim)) {
    if (prediction_ != Prediction::Noise || levels_.of.front() > 0) return;
    throw Error("MODEL_UNSUPPORTED",
                "the schedule begins without any signal (rescale_betas_zero_snr), where the noise "
                "that this model predicts (epsilon) says nothing; such a model predicts velocity "
                "(v_prediction)");
}

double Sampler::timestep(int i) const {
    return i < steps() ? levels_.timesteps[static_cast<std::size_t>(i)] : 0;
}

Latent Sampler::begun(Latent noise) const {
    if (levels_.first == 1) return noise;
    for (float &value : noise) value = static_cast<float>(levels_.first * value);
    return noise;
}

Latent Sampler::noised(const Latent &clean, const Latent &noise, int i) const {
    const double a = levels_.of[static_cast<std::size_t>(i)];
    Latent x(clean.size());
    for (std::size_t k = 0; k < x.size(); k++) {
        x[k] = static_cast<float>(std::sqrt(a) * clean[k] + std::sqrt(1 - a) * noise[k]);
    }
    return x;
}

Latent Sampler::renewed(const Latent &noise, int i) {
    const auto at = static_cast<std::size_t>(i);
    const double b = levels_.after[at], w = levels_.fresh[at];
    if (w == 0) return noise;
    const Latent &fresh = noise_.at(i);
    const double kept = std::sqrt(std::max(0.0, 1 - b - w * w)), all = std::sqrt(1 - b);
    Latent next(noise.size());
    for (std::size_t k = 0; k < next.size(); k++) {
        next[k] = static_cast<float>((kept * noise[k] + w * fresh[k]) / all);
    }
    return next;
}

Sampler::Run::Run(Sampler &sampler)
    : sampler_(sampler), aim_(sampler.makeAim_ ? sampler.makeAim_(sampler.levels_) : nullptr) {}

Sampler::Step Sampler::Run::step(const Latent &x, int i, const Denoise &denoise) {
    const auto at = static_cast<std::size_t>(i);
    const Levels &levels = sampler_.levels_;
    const double a = levels.of[at], b = levels.after[at], w = levels.fresh[at];

    const Latent predicted = denoise(x, i, sampler_.timestep(i));
    std::vector<double> clean(x.size()), noise(x.size());
    for (std::size_t k = 0; k < x.size(); k++) {
        const Denoised denoised(sampler_.prediction_, predicted[k], x[k], a);
        const auto &range = sampler_.clipRange_;
        clean[k] = range ? std::clamp(denoised.clean, -*range, *range) : denoised.clean;
        noise[k] = denoised.noise;
    }

    Step result{Latent(x.size()), Latent(clean.begin(), clean.end())};
    if (aim_) aim_->correct(i, x, clean, noise);
    const double direction = std::sqrt(std::max(0.0, 1 - b - w * w));
    const Latent *fresh = w > 0 ? &sampler_.noise_.at(i) : nullptr;
    for (std::size_t k = 0; k < x.size(); k++) {
        double next = std::sqrt(b) * clean[k] + direction * noise[k];
        if (fresh) next += w * (*fresh)[k];
        result.next[k] = static_cast<float>(next);
    }
    return result;
}

void Sampler::Run::forget() {
    if (aim_) aim_->forget();
}

std::vector<double> Sampler::Run::memory() const {
    return aim_ ? aim_->memory() : std::vector<double>{};
}

void Sampler::Run::remember(const std::vector<double> &memory) {
    if (aim_) aim_->remember(memory);
}

} // namespace magicmix
