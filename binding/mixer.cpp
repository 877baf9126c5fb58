#include "mixer.h"

#include "environment.h"
#include "errors.h"
#include "values.h"

#include <utility>

namespace magicmix::binding {
namespace {

/// A result of one array, and the stages of the network if they were asked for.
template <typename Values>
Result withStages(const char *name, Values values, std::vector<StageValues> stages) {
    return [name, values = std::move(values), stages = std::move(stages)](Napi::Env env) {
        Napi::Object object = Napi::Object::New(env);
        object.Set(name, copyOf<Napi::Float32Array>(env, values));
        object.Set("stages", toJs(env, stages));
        return object;
    };
}

CellSize latentSize(const Fields &fields) {
    return {fields.integer("latentWidth"), fields.integer("latentHeight")};
}

} // namespace

template <Napi::Value (Mixer::*method)(const Napi::CallbackInfo &)>
Napi::Value Mixer::guarded(const Napi::CallbackInfo &info) {
    return orThrow(info.Env(), [&] { return (this->*method)(info); });
}

Napi::Function Mixer::define(Napi::Env env) {
    return DefineClass(env, "NativeMixer",
                       {
                           InstanceAccessor<&Mixer::guarded<&Mixer::info>>("info"),
                           InstanceAccessor<&Mixer::guarded<&Mixer::schedule>>("schedule"),
                           InstanceMethod<&Mixer::guarded<&Mixer::mix>>("mix"),
                           InstanceMethod<&Mixer::guarded<&Mixer::endSweep>>("endSweep"),
                           InstanceMethod<&Mixer::guarded<&Mixer::encodeText>>("encodeText"),
                           InstanceMethod<&Mixer::guarded<&Mixer::predictNoise>>("predictNoise"),
                           InstanceMethod<&Mixer::guarded<&Mixer::encodePicture>>("encodePicture"),
                           InstanceMethod<&Mixer::guarded<&Mixer::decodeLatent>>("decodeLatent"),
                           InstanceMethod<&Mixer::guarded<&Mixer::dispose>>("dispose"),
                       });
}

Napi::Object Mixer::load(Napi::Env env, LoadOptions options, Napi::Value onProgress) {
    const auto worker = Worker::start(env);
    const auto engine = std::make_shared<std::unique_ptr<Engine>>();
    Task task = [worker = worker.get(), engine, options = std::move(options)](
                    const Cancellation &cancel, const ProgressCallback &progress) -> Result {
        *engine = Engine::load(options, cancel, progress);
        return [worker, engine](Napi::Env settled) {
            const Loaded loaded{worker->shared_from_this(), engine};
            return construct(settled, loaded);
        };
    };
    // Until there is a mixer, this keeps the worker; if there will be none, it ends it.
    const auto afterwards = [worker](bool succeeded) {
        if (!succeeded) worker->shutdown();
    };
    return worker->submit(env, std::move(task), {onProgress, {}, afterwards});
}

/// JavaScript's arguments could be anything, so what a mixer is made of is handed over beside them.
Napi::Object Mixer::construct(Napi::Env env, const Loaded &loaded) {
    Environment &environment = Environment::of(env);
    environment.handedOver = &loaded;
    try {
        const Napi::Object mixer = environment.mixer().New({});
        environment.handedOver = nullptr;
        return mixer;
    } catch (...) {
        environment.handedOver = nullptr;
        throw;
    }
}

Mixer::Mixer(const Napi::CallbackInfo &info) : Napi::ObjectWrap<Mixer>(info) {
    const void *handedOver = std::exchange(Environment::of(info.Env()).handedOver, nullptr);
    if (handedOver == nullptr) {
        throw toJs(info.Env(), Error("INVALID_ARGUMENT", "only load makes a mixer"));
    }
    const Loaded &loaded = *static_cast<const Loaded *>(handedOver);
    worker_ = loaded.worker;
    engine_ = loaded.engine;
    info_ = (*engine_)->info();
    schedule_ = (*engine_)->schedule();
    // V8 collects a forgotten mixer only if it knows how much there is to gain.
    tellMemory(info.Env(), static_cast<std::int64_t>(info_.memory.weights));
}

Mixer::~Mixer() {
    if (!worker_) return;
    tellMemory(Env(), 0);
    worker_->shutdown();
}

void Mixer::tellMemory(Napi::Env env, std::int64_t bytes) noexcept {
    std::int64_t all = 0;
    napi_adjust_external_memory(env, bytes - std::exchange(toldMemory_, bytes), &all);
}

Napi::Object Mixer::submit(Napi::Env env, EngineTask task, Napi::Value onProgress) {
    if (!disposal_.IsEmpty()) return Worker::refuse(env);
    Task onWorker = [engine = engine_, task = std::move(task)](const Cancellation &cancel,
                                                               const ProgressCallback &progress) {
        return task(**engine, cancel, progress);
    };
    return worker_->submit(env, std::move(onWorker), {onProgress, Value(), nullptr});
}

Napi::Value Mixer::info(const Napi::CallbackInfo &info) { return toJs(info.Env(), info_); }

Napi::Value Mixer::schedule(const Napi::CallbackInfo &info) { return toJs(info.Env(), schedule_); }

Napi::Value Mixer::mix(const Napi::CallbackInfo &info) {
    auto work = [request = readMixRequest(Fields(info[0], "request"))](
                    Engine &engine, const Cancellation &cancel, const ProgressCallback &progress) {
        const auto result =
            std::make_shared<const MixResult>(engine.mix(request, cancel, progress));
        return [result](Napi::Env env) { return toJs(env, *result); };
    };
    return submit(info.Env(), std::move(work), info[1]);
}

Napi::Value Mixer::endSweep(const Napi::CallbackInfo &info) {
    auto work = [sweep = info[0].As<Napi::Number>().Int32Value()](
                    Engine &engine, const Cancellation &, const ProgressCallback &) {
        engine.endSweep(sweep);
        return [](Napi::Env env) { return env.Undefined(); };
    };
    return submit(info.Env(), std::move(work));
}

Napi::Value Mixer::encodeText(const Napi::CallbackInfo &info) {
    auto work = [tokens = readTokens(info[0])](Engine &engine, const Cancellation &cancel,
                                               const ProgressCallback &) {
        return [conditioning = engine.encodeText(tokens, cancel)](Napi::Env env) {
            Napi::Object object = Napi::Object::New(env);
            object.Set("states", copyOf<Napi::Float32Array>(env, conditioning.context));
            object.Set("pooled", copyOf<Napi::Float32Array>(env, conditioning.pooled));
            return object;
        };
    };
    return submit(info.Env(), std::move(work));
}

Napi::Value Mixer::predictNoise(const Napi::CallbackInfo &info) {
    const Fields fields(info[0], "input");
    const Engine::NoiseInput input{
        fields.floats("latent"),         latentSize(fields),
        fields.integer("timestep"),      {fields.floats("states"), fields.floats("pooled")},
        readPictureConditioning(fields), readAttention(fields)};
    return submit(info.Env(), [input, wanted = fields.flag("stages")](Engine &engine,
                                                                      const Cancellation &cancel,
                                                                      const ProgressCallback &) {
        std::vector<StageValues> stages;
        auto epsilon = engine.predictNoise(input, cancel, wanted ? &stages : nullptr);
        return withStages("epsilon", std::move(epsilon), std::move(stages));
    });
}

Napi::Value Mixer::encodePicture(const Napi::CallbackInfo &info) {
    const Fields input(info[0], "input");
    const PixelSize size{input.integer("width"), input.integer("height")};
    return submit(
        info.Env(), [rgb = input.bytes("data"), size, wanted = input.flag("stages")](
                        Engine &engine, const Cancellation &cancel, const ProgressCallback &) {
            std::vector<StageValues> stages;
            auto mean = engine.encodePicture(rgb, size, cancel, wanted ? &stages : nullptr);
            return withStages("mean", std::move(mean), std::move(stages));
        });
}

Napi::Value Mixer::decodeLatent(const Napi::CallbackInfo &info) {
    const Fields input(info[0], "input");
    return submit(
        info.Env(), [latent = input.floats("latent"), size = latentSize(input),
                     tiny = input.has("tiny") && input.flag("tiny"), wanted = input.flag("stages")](
                        Engine &engine, const Cancellation &cancel, const ProgressCallback &) {
            std::vector<StageValues> stages;
            auto rgb = tiny ? engine.decodeLatentTiny(latent, size, cancel)
                            : engine.decodeLatent(latent, size, cancel, wanted ? &stages : nullptr);
            return withStages("rgb", std::move(rgb), std::move(stages));
        });
}

Napi::Value Mixer::dispose(const Napi::CallbackInfo &info) {
    if (disposal_.IsEmpty()) {
        worker_->disposeAll(info.Env());
        tellMemory(info.Env(), 0);
        // The engine is freed on its own thread, after what runs there has unwound.
        Task freeEngine = [engine = engine_](const Cancellation &, const ProgressCallback &) {
            engine->reset();
            return [](Napi::Env env) { return env.Undefined(); };
        };
        const auto afterwards = [worker = worker_](bool) { worker->shutdown(); };
        disposal_ = Napi::Persistent(
            worker_->submit(info.Env(), std::move(freeEngine), {{}, Value(), afterwards}));
    }
    return disposal_.Value().Get("done");
}

} // namespace magicmix::binding
