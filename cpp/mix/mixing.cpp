#include "mix/mixing.h"

#include "base/numbers.h"

#include <algorithm>
#include <cmath>

namespace magicmix {

int indexAt(double k, int steps) {
    // 0.29 * 100 is 28.999999999999996 in binary, and means 29.
    return steps - static_cast<int>(std::floor(k * steps + 1e-9));
}

Mixing::Mixing(const Options &options)
    : iMax(indexAt(options.kMax, options.steps)), iMin(indexAt(options.kMin, options.steps)),
      steps_(options.steps), nu_(options.nu), nuMap_(options.nuMap),
      mayHold_(!options.kMaxMap.empty()) {
    for (const float k : options.kMaxMap) {
        held_.push_back(indexAt(static_cast<double>(k) * options.kMax, options.steps));
        lastHeld_ = std::max(lastHeld_, held_.back());
    }
}

int Mixing::mixedStates(double kMin, double kMax, int steps) {
    return std::max(0, indexAt(kMin, steps) - 1 - indexAt(kMax, steps));
}

int Mixing::lastMixed() const { return mayHold_ ? steps_ : iMin - 1; }

double Mixing::nuAt(int i) const {
    return i < iMin ? nu_[static_cast<std::size_t>(i - iMax - 1)] : 1;
}

Latent Mixing::mixed(int i, const Latent &layout, const Latent &x) const {
    const double nu = nuAt(i);
    const bool scaled = i < iMin && !nuMap_.empty();
    if (!scaled && held_.empty()) return interpolate(layout, x, nu);

    const std::size_t cells = scaled ? nuMap_.size() : held_.size();
    Latent result(x.size());
    for (std::size_t k = 0; k < result.size(); k++) {
        const std::size_t cell = k % cells;
        double weight = scaled ? nu * static_cast<double>(nuMap_[cell]) : nu;
        if (!held_.empty() && i <= held_[cell]) weight = 0;
        result[k] = interpolated(layout[k], x[k], weight);
    }
    return result;
}

} // namespace magicmix
