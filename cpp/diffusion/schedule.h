#pragma once

namespace magicmix {

/// Cumulative alpha at a training timestep, 0..999. Throws `INVALID_ARGUMENT` for others.
double alphaBarAt(int timestep);

} // namespace magicmix
