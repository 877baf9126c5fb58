#pragma once

#include "base/error.h"

#include <atomic>

namespace magicmix {

/// A flag that one thread raises and the working thread looks at, inside a step as well.
/// `request` may be called from any thread, any number of times.
class Cancellation {
public:
    void request() noexcept { requested_.store(true, std::memory_order_relaxed); }
    bool requested() const noexcept { return requested_.load(std::memory_order_relaxed); }

    void throwIfRequested() const {
        if (requested()) throw Cancelled();
    }

private:
    std::atomic<bool> requested_{false};
};

} // namespace magicmix
