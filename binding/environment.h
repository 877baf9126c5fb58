#pragma once

#include <napi.h>

#include <set>

namespace magicmix::binding {

class Worker;

/// The state of one JavaScript environment: the main thread's, or that of a worker thread. There
/// is no state beside it.
class Environment {
public:
    /// Called once when the addon is loaded into an environment.
    static void create(Napi::Env env);
    static Environment &of(Napi::Env env) { return *env.GetInstanceData<Environment>(); }

    /// The constructor of `Mixer`.
    const Napi::FunctionReference &mixer() const { return mixer_; }

    /// To the constructor of `Mixer`, while it is called: see there.
    const void *handedOver = nullptr;

    /// Workers that are to be shut down when the process exits.
    void add(Worker &worker) { workers_.insert(&worker); }
    void remove(Worker &worker) { workers_.erase(&worker); }

private:
    void shutdownOnExit(Napi::Env env);

    Napi::FunctionReference mixer_;
    std::set<Worker *> workers_;
};

} // namespace magicmix::binding
