// The table of what the addon exports: `NativeBinding` of ts/native/contract.ts.

#include "environment.h"
#include "errors.h"
#include "mixer.h"
#include "values.h"
#include "worker.h"

#include <memory>

namespace magicmix::binding {
namespace {

Napi::Value devices(const Napi::CallbackInfo &info) {
    return orThrow(info.Env(), [&]() -> Napi::Value {
        const auto all = listDevices();
        Napi::Array array = Napi::Array::New(info.Env(), all.size());
        for (std::size_t i = 0; i < all.size(); i++) {
            array.Set(static_cast<std::uint32_t>(i), toJs(info.Env(), all[i]));
        }
        return array;
    });
}

/// Runs a job on a thread of its own, which ends with it.
Napi::Object submitAlone(Napi::Env env, Task task, Napi::Value onProgress) {
    const auto worker = Worker::start(env);
    const auto afterwards = [worker](bool) { worker->shutdown(); };
    return worker->submit(env, std::move(task), {onProgress, {}, afterwards});
}

Napi::Value chooseCpu(const Napi::CallbackInfo &info) {
    return orThrow(info.Env(), [&]() -> Napi::Value {
        loadBestCpu(readTexts(info[0], "paths"));
        return info.Env().Undefined();
    });
}

Napi::Value addBackend(const Napi::CallbackInfo &info) {
    return orThrow(info.Env(), [&]() -> Napi::Value {
        Task task = [path = readText(info[0], "path")](const Cancellation &,
                                                       const ProgressCallback &) -> Result {
            loadBackend(path);
            return [](Napi::Env env) { return env.Undefined(); };
        };
        return submitAlone(info.Env(), std::move(task), {});
    });
}

Napi::Value checkDevice(const Napi::CallbackInfo &info) {
    return orThrow(info.Env(), [&]() -> Napi::Value {
        Task task = [id = readText(info[0], "device")](const Cancellation &,
                                                       const ProgressCallback &) -> Result {
            const Preflight result = preflight(id);
            return [result](Napi::Env env) {
                Napi::Object object = Napi::Object::New(env);
                object.Set("error", result.error);
                object.Set("passed", result.passed);
                return object;
            };
        };
        return submitAlone(info.Env(), std::move(task), {});
    });
}

Napi::Value shareOfMachine(const Napi::CallbackInfo &info) {
    return orThrow(info.Env(), [&]() -> Napi::Value {
        const MachineShare share = machineShare(readText(info[0], "root"));
        Napi::Object object = Napi::Object::New(info.Env());
        object.Set("cores", share.cores);
        object.Set("memory", static_cast<double>(share.memory));
        return object;
    });
}

Napi::Value inspectModel(const Napi::CallbackInfo &info) {
    return orThrow(info.Env(), [&]() -> Napi::Value {
        ModelFiles files;
        if (!info[2].IsUndefined()) files = readModelFiles(Fields(info[2], "files"));
        files.model = readText(info[0], "path");
        Task task = [files, config = readConfig(Fields(info[1], "config"))](
                        const Cancellation &cancel, const ProgressCallback &) -> Result {
            const auto result = std::make_shared<const Inspection>(inspect(files, config, cancel));
            return [result](Napi::Env env) { return toJs(env, *result); };
        };
        return submitAlone(info.Env(), std::move(task), {});
    });
}

Napi::Value allConfigKeys(const Napi::CallbackInfo &info) {
    return orThrow(info.Env(), [&]() -> Napi::Value { return toJs(info.Env(), configKeys()); });
}

Napi::Value convertModel(const Napi::CallbackInfo &info) {
    return orThrow(info.Env(), [&]() -> Napi::Value {
        Task task = [options = readConvertOptions(Fields(info[0], "options"))](
                        const Cancellation &cancel, const ProgressCallback &progress) -> Result {
            const auto result =
                std::make_shared<const Conversion>(convert(options, cancel, progress));
            return [result](Napi::Env env) { return toJs(env, *result); };
        };
        return submitAlone(info.Env(), std::move(task), info[1]);
    });
}

Napi::Value loadModel(const Napi::CallbackInfo &info) {
    return orThrow(info.Env(), [&]() -> Napi::Value {
        return Mixer::load(info.Env(), readLoadOptions(Fields(info[0], "options")), info[1]);
    });
}

Napi::Value randomNormal(const Napi::CallbackInfo &info) {
    return orThrow(info.Env(), [&]() -> Napi::Value {
        Napi::Object arguments = Napi::Object::New(info.Env());
        arguments.Set("seed", info[0]);
        arguments.Set("count", info[1]);
        const Fields fields(arguments, "randn");
        const int count = fields.integer("count");
        if (count < 0) throw Error("INVALID_ARGUMENT", "count must be 0 or more");
        return copyOf<Napi::Float32Array>(
            info.Env(), randn(fields.seed("seed"), static_cast<std::size_t>(count)));
    });
}

Napi::Value levelsOf(const Napi::CallbackInfo &info) {
    return orThrow(info.Env(), [&]() -> Napi::Value {
        Napi::Object arguments = Napi::Object::New(info.Env());
        arguments.Set("steps", info[0]);
        SamplerOptions options;
        Schedule schedule;
        if (!info[1].IsUndefined()) {
            const Fields fields(info[1], "schedule");
            schedule = readSchedule(fields);
            readSampler(fields, options);
        }
        options.steps = Fields(arguments, "schedule").integer("steps");
        return toJs(info.Env(), samplerLevels(options, schedule));
    });
}

Napi::Value planOfSweep(const Napi::CallbackInfo &info) {
    return orThrow(info.Env(), [&]() -> Napi::Value {
        const Fields fields(info[0], "sweep");
        std::vector<MixRequest> requests;
        for (const Fields &request : fields.objects("requests")) {
            requests.push_back(readMixRequest(request));
        }
        return toJs(info.Env(), planSweep(requests, readSchedule(fields.object("schedule"))));
    });
}

Napi::Object initialise(Napi::Env env, Napi::Object exports) {
    Environment::create(env);
    exports.Set("devices", Napi::Function::New<devices>(env, "devices"));
    exports.Set("chooseCpu", Napi::Function::New<chooseCpu>(env, "chooseCpu"));
    exports.Set("loadBackend", Napi::Function::New<addBackend>(env, "loadBackend"));
    exports.Set("preflight", Napi::Function::New<checkDevice>(env, "preflight"));
    exports.Set("machine", Napi::Function::New<shareOfMachine>(env, "machine"));
    exports.Set("inspect", Napi::Function::New<inspectModel>(env, "inspect"));
    exports.Set("configKeys", Napi::Function::New<allConfigKeys>(env, "configKeys"));
    exports.Set("convert", Napi::Function::New<convertModel>(env, "convert"));
    exports.Set("load", Napi::Function::New<loadModel>(env, "load"));
    exports.Set("randn", Napi::Function::New<randomNormal>(env, "randn"));
    exports.Set("schedule", Napi::Function::New<levelsOf>(env, "schedule"));
    exports.Set("planSweep", Napi::Function::New<planOfSweep>(env, "planSweep"));
    return exports;
}

} // namespace
} // namespace magicmix::binding

static Napi::Object initialiseAddon(Napi::Env env, Napi::Object exports) {
    return magicmix::binding::initialise(env, exports);
}

NODE_API_MODULE(magicmix, initialiseAddon)
