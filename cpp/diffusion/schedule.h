#pragma once

#include <vector>

namespace magicmix {

struct Schedule {
    std::vector<int> timesteps;       ///< t_0 > t_1 > ...
    std::vector<double> alphaBar;     ///< cumulative alpha at t_i
    std::vector<double> alphaBarNext; ///< cumulative alpha after step i
};
/// The DDIM schedule of `steps` steps, 1..999.
Schedule schedule(int steps);

/// Cumulative alpha at a training timestep, 0..999. Throws `INVALID_ARGUMENT` for others.
double alphaBarAt(int timestep);

} // namespace magicmix
