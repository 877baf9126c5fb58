#include "diffusion/schedule.h"

#include "base/error.h"

#include <cmath>

namespace magicmix {
namespace {

double betaAt(const Schedule &schedule, int t) {
    const bool scaled = schedule.betas == Schedule::Betas::ScaledLinear;
    const double first = scaled ? std::sqrt(schedule.betaStart) : schedule.betaStart;
    const double last = scaled ? std::sqrt(schedule.betaEnd) : schedule.betaEnd;
    const double value = first + (last - first) * t / (schedule.trainingSteps - 1);
    return scaled ? value * value : value;
}

/// Shifts and stretches the roots so that the last is 0 and the first stays (Lin et al. 2023,
/// algorithm 1).
void rescaleToZeroTerminalSnr(std::vector<double> &alphas) {
    const double first = std::sqrt(alphas.front()), last = std::sqrt(alphas.back());
    for (double &alpha : alphas) {
        const double root = (std::sqrt(alpha) - last) * first / (first - last);
        alpha = root * root;
    }
}

[[noreturn]] void unsupported(const char *key, const std::string &name, const char *known) {
    throw Error("MODEL_UNSUPPORTED",
                std::string("the scheduler's ") + key + " '" + name +
                    "' is not supported; it may be " + known,
                {{"key", key}, {"value", name}});
}

} // namespace

Schedule::Betas parseBetas(const std::string &name) {
    if (name == "linear") return Schedule::Betas::Linear;
    if (name == "scaled_linear") return Schedule::Betas::ScaledLinear;
    unsupported("beta_schedule", name, "linear or scaled_linear");
}

Schedule::Spacing parseSpacing(const std::string &name) {
    if (name == "leading") return Schedule::Spacing::Leading;
    if (name == "trailing") return Schedule::Spacing::Trailing;
    if (name == "linspace") return Schedule::Spacing::Linspace;
    unsupported("timestep_spacing", name, "leading, trailing or linspace");
}

const char *spacingName(Schedule::Spacing spacing) {
    switch (spacing) {
    case Schedule::Spacing::Leading: return "leading";
    case Schedule::Spacing::Trailing: return "trailing";
    case Schedule::Spacing::Linspace: return "linspace";
    }
    return "leading";
}

std::vector<double> cumulativeAlphas(const Schedule &schedule) {
    std::vector<double> alphas;
    double product = 1;
    for (int t = 0; t < schedule.trainingSteps; t++) {
        product *= 1 - betaAt(schedule, t);
        alphas.push_back(product);
    }
    if (schedule.zeroTerminalSnr) rescaleToZeroTerminalSnr(alphas);
    return alphas;
}

double alphaBarAt(const std::vector<double> &alphas, int timestep) {
    const int last = static_cast<int>(alphas.size()) - 1;
    if (timestep < 0 || timestep > last) {
        throw Error("INVALID_ARGUMENT",
                    "a timestep must be a whole number from 0 to " + std::to_string(last) +
                        ", not " + std::to_string(timestep),
                    {{"timestep", static_cast<double>(timestep)}});
    }
    return alphas[static_cast<std::size_t>(timestep)];
}

std::vector<int> timesteps(const Schedule &schedule, int steps) {
    const int all = schedule.trainingSteps;
    // With as many steps as timesteps, a leading schedule would begin one after the last.
    if (steps < 1 || steps >= all) {
        throw Error("INVALID_ARGUMENT",
                    "steps must be a whole number from 1 to " + std::to_string(all - 1) + ", not " +
                        std::to_string(steps),
                    {{"steps", static_cast<double>(steps)}});
    }
    std::vector<int> result;
    for (int i = 0; i < steps; i++) {
        switch (schedule.spacing) {
        case Schedule::Spacing::Leading:
            result.push_back((steps - 1 - i) * (all / steps) + schedule.stepsOffset);
            break;
        case Schedule::Spacing::Trailing: {
            // In this order of operations, which decides ties as numpy's arange does.
            const double stride = static_cast<double>(all) / steps;
            const double t = all + i * ((all - stride) - all);
            result.push_back(static_cast<int>(std::nearbyint(t)) - 1);
            break;
        }
        case Schedule::Spacing::Linspace: {
            const double stride = steps > 1 ? static_cast<double>(all - 1) / (steps - 1) : 0;
            const auto t = static_cast<float>((steps - 1 - i) * stride);
            result.push_back(static_cast<int>(std::nearbyint(t)));
            break;
        }
        }
    }
    return result;
}

} // namespace magicmix
