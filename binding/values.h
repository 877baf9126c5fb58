#pragma once

#include "engine/engine.h"

#include <napi.h>

#include <cstring>
#include <string>
#include <vector>

/// Plain values of the engine to JavaScript and back. The shapes of objects are those of
/// ts/native/contract.ts.
namespace magicmix::binding {

/// Reads the fields of an object; a field of another type throws an error with the code
/// INVALID_ARGUMENT that names it.
class Fields {
public:
    /// `name` says in messages what the object is.
    Fields(const Napi::Value &value, std::string name);

    /// Neither undefined nor null.
    bool has(const char *key) const;
    Napi::Value value(const char *key) const;
    /// The names of all fields.
    std::vector<std::string> keys() const;
    Fields object(const char *key) const;
    std::vector<Fields> objects(const char *key) const;
    double number(const char *key) const;
    int integer(const char *key) const;
    std::uint64_t seed(const char *key) const;
    std::vector<std::uint64_t> seeds(const char *key) const;
    bool flag(const char *key) const;
    std::string text(const char *key) const;
    /// Values are copied.
    std::vector<std::uint8_t> bytes(const char *key) const;
    std::vector<std::int32_t> integers(const char *key) const;
    std::vector<float> floats(const char *key) const;
    std::vector<double> doubles(const char *key) const;

private:
    std::uint64_t seedOf(double value, const char *key) const;
    [[noreturn]] void fail(const char *key, const char *expected) const;
    Napi::Value get(const char *key) const;
    template <typename Array, typename T>
    std::vector<T> array(const char *key, napi_typedarray_type type, const char *expected) const;

    Napi::Object object_;
    std::string name_;
};

ModelConfig readConfig(const Fields &fields);
/// Every field may be missing.
Schedule readSchedule(const Fields &fields);
void readSampler(const Fields &fields, SamplerOptions &options);
/// All but the model itself, which has another name in every call.
ModelFiles readModelFiles(const Fields &fields);
LoadOptions readLoadOptions(const Fields &fields);
ConvertOptions readConvertOptions(const Fields &fields);
MixRequest readMixRequest(const Fields &fields);
/// The field `attention`.
std::vector<AttentionScale> readAttention(const Fields &fields);
std::optional<PictureConditioning> readPictureConditioning(const Fields &fields);
std::vector<std::int32_t> readTokens(const Napi::Value &value);
std::string readText(const Napi::Value &value, const std::string &name);
std::vector<std::string> readTexts(const Napi::Value &value, const std::string &name);

/// A typed array with a copy of the values in memory of JavaScript's own.
template <typename Array, typename T>
Array copyOf(Napi::Env env, const std::vector<T> &values) {
    Array array = Array::New(env, values.size());
    if (!values.empty()) std::memcpy(array.Data(), values.data(), values.size() * sizeof(T));
    return array;
}

Napi::Value toJs(Napi::Env env, const DeviceInfo &device);
Napi::Value toJs(Napi::Env env, const ModelInfo &info);
Napi::Value toJs(Napi::Env env, const Inspection &inspection);
Napi::Value toJs(Napi::Env env, const Conversion &conversion);
Napi::Value toJs(Napi::Env env, const Progress &progress);
Napi::Value toJs(Napi::Env env, const MixResult &result);
Napi::Value toJs(Napi::Env env, const std::vector<StageValues> &stages);
Napi::Value toJs(Napi::Env env, const Levels &levels);
Napi::Value toJs(Napi::Env env, const Schedule &schedule);
Napi::Value toJs(Napi::Env env, const SweepPlan &plan);
Napi::Value toJs(Napi::Env env, const std::vector<ConfigKey> &keys);

} // namespace magicmix::binding
