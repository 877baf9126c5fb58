#include "engine/reporter.h"

#include <numeric>

namespace magicmix {

void Reporter::begin(Stage stage, int steps) {
    event_ = Progress{};
    event_.stage = stage;
    event_.steps = steps;
    send();
}

void Reporter::done(double timestep, std::shared_ptr<const Picture> preview) {
    event_.step++;
    event_.timestep = timestep;
    event_.preview = std::move(preview);
    send();
    event_.preview.reset();
}

void Reporter::send() {
    const auto done = static_cast<double>(steps_.size());
    const double sum = std::accumulate(steps_.begin(), steps_.end(), 0.0);
    event_.etaMs = steps_.empty() ? 0 : (all_ - done) * sum / done;
    progress_(event_);
}

} // namespace magicmix
