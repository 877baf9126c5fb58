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

    /// Calls the constructor of `Mixer` with `loaded`.
    Napi::Object newMixer(napi_value loaded) const { return mixer_.New({loaded}); }

    /// Workers that are to be shut down when the process exits.
    void add(Worker &worker) { workers_.insert(&worker); }
    void remove(Worker &worker) { workers_.erase(&worker); }

private:
    void shutdownOnExit(Napi::Env env);

    Napi::FunctionReference mixer_;
    std::set<Worker *> workers_;
};

} // namespace magicmix::binding
