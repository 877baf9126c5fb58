#pragma once

#include <napi.h>

namespace magicmix::binding {

/// What belongs to one JavaScript environment: the main thread's, or that of a worker thread. There
/// is no state beside it.
class Environment {
public:
    /// Called once when the addon is loaded into an environment.
    static void create(Napi::Env env);
    static Environment &of(Napi::Env env) { return *env.GetInstanceData<Environment>(); }

    /// Calls the constructor of `Mixer` with `loaded`.
    Napi::Object newMixer(napi_value loaded) const { return mixer_.New({loaded}); }

private:
    Napi::FunctionReference mixer_;
};

} // namespace magicmix::binding
