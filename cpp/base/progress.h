#pragma once

#include "base/latent.h"

#include <functional>
#include <memory>

namespace magicmix {

enum class Stage { Load, Convert, Encode, Layout, Content, Score, Decode };
const char *stageName(Stage stage);

struct Progress {
    Stage stage = Stage::Encode;
    int step = 0;        ///< steps of this stage that are done
    int steps = 0;       ///< steps that this stage has
    double timestep = 0; ///< training timestep of the step just done; 0 where there is none
    double etaMs = 0;    ///< estimated time to the end of the whole request; 0 while unknown
    std::shared_ptr<const Picture> preview; ///< linear image of the predicted clean latent
};
using ProgressCallback = std::function<void(const Progress &)>;

} // namespace magicmix
