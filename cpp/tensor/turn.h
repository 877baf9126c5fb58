#pragma once

#include "base/cancellation.h"

namespace magicmix {

/// The right to use all cores of the CPU, held while a graph runs on several threads. ggml's
/// threads wait for each other by spinning: two graphs at a time on the same cores would take not
/// twice but a hundred times as long. So engines take turns, first come, first served, in the whole
/// process: the cores are shared, and this is the only shared state of the library.
class Turn {
public:
    /// Waits for it. Throws `Cancelled` if that is asked for meanwhile.
    explicit Turn(const Cancellation &cancel);
    ~Turn();
    Turn(const Turn &) = delete;
    Turn &operator=(const Turn &) = delete;
};

} // namespace magicmix
