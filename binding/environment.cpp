#include "environment.h"

#include "mixer.h"
#include "worker.h"

#include <memory>

namespace magicmix::binding {

void Environment::create(Napi::Env env) {
    auto environment = std::make_unique<Environment>();
    environment->mixer_ = Napi::Persistent(Mixer::define(env));
    environment->shutdownOnExit(env);
    env.SetInstanceData(environment.release()); // Node-API deletes it with the environment
}

/// On the main thread, process.exit() and uncaught exceptions run no cleanup hooks: static objects,
/// ggml's too, would be destroyed under a thread that computes with them. The `exit` event comes
/// before that. First among its listeners, because one that calls process.exit() is the last.
void Environment::shutdownOnExit(Napi::Env env) {
    const auto shutdown = [](const Napi::CallbackInfo &info) {
        const auto workers = Environment::of(info.Env()).workers_; // shutdown takes them out
        for (Worker *worker : workers) worker->shutdown();
    };
    const auto process = env.Global().Get("process").As<Napi::Object>();
    const auto listen = process.Get("prependListener").As<Napi::Function>();
    listen.Call(process, {Napi::String::New(env, "exit"), Napi::Function::New(env, shutdown)});
}

} // namespace magicmix::binding
