#include "tensor/turn.h"

#include <chrono>
#include <condition_variable>
#include <list>
#include <mutex>

namespace magicmix {
namespace {

struct Line {
    std::mutex mutex;
    std::condition_variable moved;
    std::list<const Turn *> waiting; ///< the first has the turn
};

Line &line() {
    static Line theLine;
    return theLine;
}

// How soon a cancelled wait ends; cancelling does not know what it would have to wake.
constexpr std::chrono::milliseconds kGlance(20);

} // namespace

Turn::Turn(const Cancellation &cancel) {
    Line &all = line();
    std::unique_lock<std::mutex> lock(all.mutex);
    all.waiting.push_back(this);
    while (all.waiting.front() != this) {
        if (cancel.requested()) {
            all.waiting.remove(this);
            throw Cancelled();
        }
        all.moved.wait_for(lock, kGlance);
    }
}

Turn::~Turn() {
    Line &all = line();
    {
        const std::lock_guard<std::mutex> lock(all.mutex);
        all.waiting.pop_front();
    }
    all.moved.notify_all();
}

} // namespace magicmix
