#include "diffusion/ddim.h"

namespace magicmix {

Levels ddimLevels(const Schedule &schedule, int steps, double eta) {
    const std::vector<double> alphas = cumulativeAlphas(schedule);
    const double end = schedule.finalLevel == Schedule::FinalLevel::One ? 1 : alphas.front();
    Levels levels;
    for (const int t : timesteps(schedule, steps)) {
        const int next = t - schedule.trainingSteps / steps;
        const double a = alphaBarAt(alphas, t), b = next >= 0 ? alphaBarAt(alphas, next) : end;
        levels.timesteps.push_back(t);
        levels.of.push_back(a);
        levels.after.push_back(b);
        levels.fresh.push_back(eta == 0 ? 0 : eta * ancestralNoise(a, b));
    }
    levels.of.push_back(levels.after.back());
    return levels;
}

} // namespace magicmix
