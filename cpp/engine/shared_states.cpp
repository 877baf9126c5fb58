#include "engine/shared_states.h"

namespace magicmix {
namespace {

/// A state in the plan: the mix that computes it, and whether another begins with it.
struct Planned {
    int cell = -1;
    bool kept = false;
};

} // namespace

SweepPlan planSweep(const std::vector<MixRequest> &requests, const Schedule &schedule) {
    SweepPlan plan;
    plan.cells.resize(requests.size());
    TrailTree<Planned> tree;
    for (std::size_t number = 0; number < requests.size(); number++) {
        const MixRequest &request = requests[number];
        const Trail trail(request, schedule);
        const auto path = tree.along(request.sharing ? request.sharing->root : 0, trail);
        const Beginning begin =
            beginningOf<Planned>(trail, path, [](const Planned &state) { return state.cell >= 0; });

        const auto keep = [&](Planned &state, int i, std::vector<int> SweepPlan::Cell::*list) {
            if (state.kept) return;
            state.kept = true;
            (plan.cells[static_cast<std::size_t>(state.cell)].*list).push_back(i);
        };
        const auto compute = [&](Planned &state) { state.cell = static_cast<int>(number); };
        const int iMax = trail.mixing.iMax;
        const auto contentAt = [&](int i) -> Planned & {
            return *path.content[static_cast<std::size_t>(i - iMax)];
        };
        const auto layoutAt = [&](int i) -> Planned & {
            return *path.layout[static_cast<std::size_t>(i)];
        };

        if (begin.content > iMax) {
            keep(contentAt(begin.content), begin.content, &SweepPlan::Cell::keepContent);
        }
        for (int i = 1; i <= begin.layout; i++) {
            keep(layoutAt(i), i, &SweepPlan::Cell::keepLayout);
        }
        for (int i = begin.content + 1; i <= trail.steps; i++) compute(contentAt(i));
        for (int i = begin.layout + 1; i <= begin.lastLayout; i++) compute(layoutAt(i));

        SweepPlan::Cell &cell = plan.cells[number];
        const int ofScore = trail.scored ? kScoreCalls : 0;
        cell.unetCalls = trail.steps - begin.content + begin.lastLayout - begin.layout + ofScore;
        cell.callsOfSingleMix =
            static_cast<int>(trail.layout.size() + trail.content.size()) + ofScore;
    }
    return plan;
}

} // namespace magicmix
