#pragma once

#include "base/progress.h"

#include <vector>

namespace magicmix {

/// Counts the steps of a mix that are done, and reports them to the caller.
class Reporter {
public:
    /// `unetSteps`: of layout and content together.
    Reporter(const ProgressCallback &progress, int unetSteps)
        : progress_(progress), all_(unetSteps) {}

    void begin(Stage stage, int steps);
    void done(double timestep = 0, std::shared_ptr<const Picture> preview = nullptr);

    void unetStepTook(double milliseconds) { steps_.push_back(milliseconds); }
    const std::vector<double> &unetSteps() const { return steps_; }

private:
    void send();

    const ProgressCallback &progress_;
    int all_;
    Progress event_;
    std::vector<double> steps_;
};

} // namespace magicmix
