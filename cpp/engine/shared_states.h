#pragma once

#include "engine/trail.h"

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace magicmix {

/// The trails of mixes as a tree: where the steps of two part, so do its branches. Every state
/// that two mixes have in common is one place in it, which holds a `Value`.
template <typename Value>
class TrailTree {
public:
    /// The places of a mix's states.
    struct Path {
        std::vector<Value *> layout;  ///< states 0, 1, ... of the layout prompt's run
        std::vector<Value *> content; ///< states iMax..N
    };

    /// `root`: see `MixRequest::Sharing`.
    Path along(int root, const Trail &trail) {
        Path path;
        Node *layout = &next(root_, std::to_string(root));
        Node *first = layout; // where the content's run begins
        path.layout.push_back(&layout->value);
        for (std::size_t i = 0; i < trail.layout.size(); i++) {
            layout = &next(*layout, trail.layout[i].of);
            path.layout.push_back(&layout->value);
            if (static_cast<int>(i) + 1 == trail.mixing.iMax) first = layout;
        }
        Node *content = &next(*first, "content from " + std::to_string(trail.mixing.iMax));
        path.content.push_back(&content->value);
        for (const PlannedStep &step : trail.content) {
            content = &next(*content, step.of);
            path.content.push_back(&content->value);
        }
        return path;
    }

private:
    struct Node {
        Value value{};
        std::map<int, std::unique_ptr<Node>> next; // by number of the step
    };
    Node &next(Node &from, const std::string &step) {
        const int number = numbers_.emplace(step, static_cast<int>(numbers_.size())).first->second;
        auto &node = from.next[number];
        if (!node) node = std::make_unique<Node>();
        return *node;
    }

    std::map<std::string, int> numbers_; // of steps that depend on the same
    Node root_;
};

/// What a step has given for a state, not mixed yet, and all that a run has to know to go on.
struct SharedState {
    Latent state;
    std::vector<double> memory; ///< of the sampler's run
};
/// The states that the mixes of one sweep leave for each other.
using SharedStates = TrailTree<std::shared_ptr<const SharedState>>;

/// Where a mix begins that finds some of its states there.
struct Beginning {
    int content = 0;                ///< the state with which the content's run begins
    int layout = 0, lastLayout = 0; ///< the layout prompt's run goes from one to the other

    int layoutSteps() const { return lastLayout - layout; }
};

/// `isThere(value)`: of the path's states those that may be begun with.
template <typename Value, typename IsThere>
Beginning beginningOf(const Trail &trail, const typename TrailTree<Value>::Path &path,
                      const IsThere &isThere) {
    const int iMax = trail.mixing.iMax;
    Beginning begin;
    begin.content = iMax;
    for (std::size_t k = 1; k < path.content.size(); k++) {
        const int i = iMax + static_cast<int>(k);
        if (isThere(*path.content[k]) && trail.canBeginContent(i)) begin.content = i;
    }
    if (trail.layout.empty()) return begin;

    if (begin.content == iMax || trail.scored) {
        begin.lastLayout = trail.lastLayout;
    } else if (begin.content <= trail.mixing.lastMixed()) {
        begin.lastLayout = trail.mixing.lastMixed();
    }
    for (std::size_t k = 1; k < path.layout.size() && isThere(*path.layout[k]); k++) {
        const int i = static_cast<int>(k);
        if (i > begin.lastLayout) break;
        if (i == begin.lastLayout || trail.canBeginLayout(i)) begin.layout = i;
    }
    return begin;
}

/// What the mixes of a sweep, in this order, have to compute, and which of their states they leave
/// for those that come after them.
struct SweepPlan {
    struct Cell {
        int unetCalls = 0;
        int callsOfSingleMix = 0;
        std::vector<int> keepLayout, keepContent; ///< indices of states
    };
    std::vector<Cell> cells;
};
SweepPlan planSweep(const std::vector<MixRequest> &requests, const Schedule &schedule);

} // namespace magicmix
