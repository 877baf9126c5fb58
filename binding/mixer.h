#pragma once

#include "worker.h"

#include <functional>
#include <memory>

namespace magicmix::binding {

/// A loaded model as JavaScript sees it: `NativeMixer` of ts/native/contract.ts.
class Mixer : public Napi::ObjectWrap<Mixer> {
public:
    static Napi::Function define(Napi::Env env);

    /// The `load` of ts/native/contract.ts: starts a worker and loads the model on it.
    static Napi::Object load(Napi::Env env, LoadOptions options, Napi::Value onProgress);

    /// For `load` alone: throws if JavaScript calls it.
    explicit Mixer(const Napi::CallbackInfo &info);
    ~Mixer() override;

private:
    /// The engine belongs to the worker's thread; only its last owner may free it elsewhere.
    using SharedEngine = std::shared_ptr<std::unique_ptr<Engine>>;
    struct Loaded {
        std::shared_ptr<Worker> worker;
        SharedEngine engine;
    };

    static Napi::Object construct(Napi::Env env, const Loaded &loaded);

    /// Each of these throws in JavaScript what its method throws.
    template <Napi::Value (Mixer::*method)(const Napi::CallbackInfo &)>
    Napi::Value guarded(const Napi::CallbackInfo &info);

    Napi::Value info(const Napi::CallbackInfo &info);
    Napi::Value schedule(const Napi::CallbackInfo &info);
    Napi::Value mix(const Napi::CallbackInfo &info);
    Napi::Value endSweep(const Napi::CallbackInfo &info);
    Napi::Value encodeText(const Napi::CallbackInfo &info);
    Napi::Value predictNoise(const Napi::CallbackInfo &info);
    Napi::Value encodePicture(const Napi::CallbackInfo &info);
    Napi::Value decodeLatent(const Napi::CallbackInfo &info);
    Napi::Value dispose(const Napi::CallbackInfo &info);

    /// Queues work on the engine; after `dispose` the job is one that has been rejected.
    using EngineTask =
        std::function<Result(Engine &engine, const Cancellation &, const ProgressCallback &)>;
    Napi::Object submit(Napi::Env env, EngineTask task, Napi::Value onProgress = {});

    /// Tells V8 how much memory hangs on this object.
    void tellMemory(Napi::Env env, std::int64_t bytes) noexcept;

    std::shared_ptr<Worker> worker_;
    SharedEngine engine_;
    ModelInfo info_;
    Schedule schedule_;
    std::int64_t toldMemory_ = 0;
    Napi::ObjectReference disposal_; ///< `{ done }` of the job that frees the engine
};

} // namespace magicmix::binding
