#include "values.h"

#include "errors.h"

#include "base/tokens.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace magicmix::binding {
namespace {

template <typename T, typename ToJs>
Napi::Array arrayOf(Napi::Env env, const std::vector<T> &values, const ToJs &toValue) {
    Napi::Array array = Napi::Array::New(env, values.size());
    for (std::size_t i = 0; i < values.size(); i++) {
        array.Set(static_cast<std::uint32_t>(i), toValue(values[i]));
    }
    return array;
}

template <typename T>
Napi::Array numbers(Napi::Env env, const std::vector<T> &values) {
    return arrayOf(env, values,
                   [&](T value) { return Napi::Number::New(env, static_cast<double>(value)); });
}

Napi::Array texts(Napi::Env env, const std::vector<std::string> &values) {
    return arrayOf(env, values, [&](const auto &value) { return Napi::String::New(env, value); });
}

using Properties = std::vector<std::pair<const char *, Napi::Value>>;

Napi::Object objectOf(Napi::Env env, const Properties &properties) {
    Napi::Object object = Napi::Object::New(env);
    for (const auto &[name, value] : properties) object.Set(name, value);
    return object;
}

Napi::Number number(Napi::Env env, std::uint64_t value) {
    return Napi::Number::New(env, static_cast<double>(value));
}

} // namespace

// ---------------------------------------------------------------------------------------------
// From JavaScript

Fields::Fields(const Napi::Value &value, std::string name) : name_(std::move(name)) {
    if (!value.IsObject()) {
        throw toJs(value.Env(), Error("INVALID_ARGUMENT", name_ + " must be an object"));
    }
    object_ = value.As<Napi::Object>();
}

void Fields::fail(const char *key, const char *expected) const {
    throw toJs(object_.Env(), Error("INVALID_ARGUMENT", name_ + "." + key + " must be " + expected,
                                    {{"name", name_ + "." + key}}));
}

Napi::Value Fields::get(const char *key) const { return object_.Get(key); }

bool Fields::has(const char *key) const {
    const Napi::Value value = get(key);
    return !value.IsUndefined() && !value.IsNull();
}

Napi::Value Fields::value(const char *key) const { return get(key); }

std::vector<std::string> Fields::keys() const {
    return readTexts(object_.GetPropertyNames(), name_);
}

Fields Fields::object(const char *key) const { return Fields(get(key), name_ + "." + key); }

std::vector<Fields> Fields::objects(const char *key) const {
    const Napi::Value value = get(key);
    if (!value.IsArray()) fail(key, "an array");
    const auto array = value.As<Napi::Array>();
    std::vector<Fields> all;
    for (std::uint32_t i = 0; i < array.Length(); i++) {
        all.emplace_back(array.Get(i), name_ + "." + key + "[" + std::to_string(i) + "]");
    }
    return all;
}

double Fields::number(const char *key) const {
    const Napi::Value value = get(key);
    if (!value.IsNumber()) fail(key, "a number");
    const double result = value.As<Napi::Number>().DoubleValue();
    if (!std::isfinite(result)) fail(key, "a finite number");
    return result;
}

int Fields::integer(const char *key) const {
    const double value = number(key);
    const bool fits = value >= std::numeric_limits<int>::min() &&
                      value <= std::numeric_limits<int>::max() && value == std::floor(value);
    if (!fits) fail(key, "a whole number of 32 bits");
    return static_cast<int>(value);
}

std::uint64_t Fields::seed(const char *key) const { return seedOf(number(key), key); }

std::vector<std::uint64_t> Fields::seeds(const char *key) const {
    std::vector<std::uint64_t> all;
    for (const double value : doubles(key)) all.push_back(seedOf(value, key));
    return all;
}

std::uint64_t Fields::seedOf(double value, const char *key) const {
    constexpr double largest = 9007199254740991.0; // Number.MAX_SAFE_INTEGER
    if (!(value >= 0 && value <= largest && value == std::floor(value))) {
        fail(key, "a whole number from 0 to 2^53 - 1");
    }
    return static_cast<std::uint64_t>(value);
}

bool Fields::flag(const char *key) const {
    const Napi::Value value = get(key);
    if (!value.IsBoolean()) fail(key, "true or false");
    return value.As<Napi::Boolean>().Value();
}

std::string Fields::text(const char *key) const {
    const Napi::Value value = get(key);
    if (!value.IsString()) fail(key, "a string");
    return value.As<Napi::String>().Utf8Value();
}

template <typename Array, typename T>
std::vector<T> Fields::array(const char *key, napi_typedarray_type type,
                             const char *expected) const {
    const Napi::Value value = get(key);
    if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != type) {
        fail(key, expected);
    }
    const auto array = value.As<Array>();
    return std::vector<T>(array.Data(), array.Data() + array.ElementLength());
}

std::vector<std::uint8_t> Fields::bytes(const char *key) const {
    return array<Napi::Uint8Array, std::uint8_t>(key, napi_uint8_array, "a Uint8Array");
}

std::vector<std::int32_t> Fields::integers(const char *key) const {
    return array<Napi::Int32Array, std::int32_t>(key, napi_int32_array, "an Int32Array");
}

std::vector<float> Fields::floats(const char *key) const {
    return array<Napi::Float32Array, float>(key, napi_float32_array, "a Float32Array");
}

std::vector<double> Fields::doubles(const char *key) const {
    return array<Napi::Float64Array, double>(key, napi_float64_array, "a Float64Array");
}

ModelConfig readConfig(const Fields &fields) {
    ModelConfig config;
    if (fields.has("unet")) {
        const Fields unet = fields.object("unet");
        if (unet.has("heads")) config.unet.heads = {unet.integer("heads")};
        if (unet.has("headWidth")) config.unet.headWidth = unet.integer("headWidth");
        if (unet.has("prediction")) config.unet.prediction = unet.text("prediction");
        if (unet.has("normGroups")) config.unet.normGroups = unet.integer("normGroups");
    }
    if (fields.has("textEncoder")) {
        const Fields text = fields.object("textEncoder");
        if (text.has("heads")) config.textEncoder.heads = text.integer("heads");
    }
    if (fields.has("textEncoder2")) {
        const Fields text = fields.object("textEncoder2");
        if (text.has("heads")) config.textEncoder2.heads = text.integer("heads");
    }
    if (fields.has("vae")) {
        const Fields vae = fields.object("vae");
        if (vae.has("normGroups")) config.vae.normGroups = vae.integer("normGroups");
        if (vae.has("scalingFactor")) config.vae.scalingFactor = vae.number("scalingFactor");
    }
    return config;
}

Schedule readSchedule(const Fields &fields) {
    Schedule schedule;
    if (fields.has("betas")) schedule.betas = parseBetas(fields.text("betas"));
    if (fields.has("spacing")) schedule.spacing = parseSpacing(fields.text("spacing"));
    if (fields.has("stepsOffset")) schedule.stepsOffset = fields.integer("stepsOffset");
    if (fields.has("endsClean") && fields.flag("endsClean")) {
        schedule.finalLevel = Schedule::FinalLevel::One;
    }
    if (fields.has("zeroTerminalSnr")) schedule.zeroTerminalSnr = fields.flag("zeroTerminalSnr");
    if (fields.has("trainingSteps")) schedule.trainingSteps = fields.integer("trainingSteps");
    if (fields.has("betaStart")) schedule.betaStart = fields.number("betaStart");
    if (fields.has("betaEnd")) schedule.betaEnd = fields.number("betaEnd");
    return schedule;
}

namespace {

std::optional<MixRequest::Sharing> readSharing(const Fields &fields) {
    if (!fields.has("sharing")) return std::nullopt;
    const Fields sharing = fields.object("sharing");
    return MixRequest::Sharing{sharing.integer("sweep"), sharing.integer("root"),
                               sharing.integers("keepLayout"), sharing.integers("keepContent")};
}

} // namespace

std::vector<Lora> readLoras(const Fields &fields) {
    std::vector<Lora> loras;
    for (const auto &entry : fields.objects("loras")) {
        loras.push_back({entry.text("file"), static_cast<float>(entry.number("strength"))});
    }
    return loras;
}

void readSampler(const Fields &fields, SamplerOptions &options) {
    if (fields.has("sampler")) options.name = fields.text("sampler");
    if (fields.has("karras") && fields.flag("karras")) options.spacing = "karras";
    if (fields.has("eta")) options.eta = fields.number("eta");
    if (fields.has("gamma")) options.gamma = fields.number("gamma");
}

ModelFiles readModelFiles(const Fields &fields) {
    ModelFiles files;
    if (fields.has("vae")) files.vae = fields.text("vae");
    if (fields.has("tinyDecoder")) files.tinyDecoder = fields.text("tinyDecoder");
    if (fields.has("originalConfig")) files.originalConfig = fields.text("originalConfig");
    return files;
}

LoadOptions readLoadOptions(const Fields &fields) {
    LoadOptions options;
    options.files = readModelFiles(fields);
    options.files.model = fields.text("model");
    options.clipSkip = fields.integer("clipSkip");
    const Fields embeddings = fields.object("embeddings");
    for (const auto &placeholder : embeddings.keys()) {
        options.embeddings.push_back({placeholder, embeddings.text(placeholder.c_str())});
    }
    options.device = fields.text("device");
    for (const auto &part : readTexts(fields.value("keepOnCpu"), "keepOnCpu")) {
        options.textEncoderOnCpu |= part == "textEncoder";
        options.vaeOnCpu |= part == "vae";
    }
    options.releaseTextEncoders = fields.flag("releaseTextEncoders");
    options.precision = fields.text("precision");
    options.threads = fields.integer("threads");
    options.kernels = fields.text("kernels");
    options.keptBytes = static_cast<std::uint64_t>(fields.number("cacheBytes"));
    options.config = readConfig(fields.object("config"));
    options.loras = readLoras(fields);
    return options;
}

ConvertOptions readConvertOptions(const Fields &fields) {
    ConvertOptions options;
    options.input = readModelFiles(fields);
    options.input.model = fields.text("input");
    options.output = fields.text("output");
    options.type = fields.text("type");
    options.compatible = fields.flag("compatible");
    options.overwrite = fields.flag("overwrite");
    options.config = readConfig(fields.object("config"));
    return options;
}

std::vector<AttentionScale> readAttention(const Fields &fields) {
    std::vector<AttentionScale> scales;
    for (const auto &entry : fields.objects("attention")) {
        scales.push_back({entry.has("text") ? entry.integer("text") : 0, entry.integer("position"),
                          static_cast<float>(entry.number("scale")), entry.number("from"),
                          entry.number("to")});
    }
    return scales;
}

std::optional<PictureConditioning> readPictureConditioning(const Fields &fields) {
    if (!fields.has("conditioning")) return std::nullopt;
    const Fields picture = fields.object("conditioning");
    return PictureConditioning{picture.integer("originalHeight"), picture.integer("originalWidth"),
                               picture.integer("cropTop"),        picture.integer("cropLeft"),
                               picture.integer("targetHeight"),   picture.integer("targetWidth")};
}

namespace {

MixRequest::Map readMap(const Fields &fields, const char *key) {
    if (!fields.has(key)) return {};
    const Fields map = fields.object(key);
    return {map.floats("cells"), map.integer("number")};
}

/// The texts of a prompt that changes, 77 ids each; one that does not change is null.
MixRequest::PromptEdit readPromptEdit(const Fields &fields, const char *key) {
    MixRequest::PromptEdit edit;
    if (!fields.has(key)) return edit;
    const Fields given = fields.object(key);
    const std::vector<std::int32_t> all = given.integers("texts");
    for (auto first = all.begin(); first != all.end();) {
        const auto count = std::min<std::ptrdiff_t>(kContextLength, all.end() - first);
        edit.texts.emplace_back(first, first + count);
        first += count;
    }
    edit.ofStep = given.integers("ofStep");
    return edit;
}

/// For `visitValues`: reads every value under its name.
struct ReadValue {
    const Fields &fields;

    void operator()(const char *name, int &value, Range) const { value = fields.integer(name); }
    void operator()(const char *name, double &value, Range) const { value = fields.number(name); }
    void operator()(const char *name, bool &value) const { value = fields.flag(name); }
    void operator()(const char *name, std::string &value) const { value = fields.text(name); }
    void operator()(const char *name, std::uint64_t &value) const { value = fields.seed(name); }
};

} // namespace

MixRequest readMixRequest(const Fields &fields) {
    MixRequest request;
    const Fields layout = fields.object("layout");
    if (layout.has("pictures")) {
        for (const auto &picture : layout.objects("pictures")) {
            request.layout.pictures.push_back({picture.bytes("pixels"), picture.number("weight")});
        }
    } else {
        request.layout.tokens = layout.integers("tokens");
    }
    for (const auto &content : fields.objects("contents")) {
        request.contents.push_back({content.integers("tokens"), readPromptEdit(content, "edit"),
                                    readAttention(content), content.number("weight")});
    }
    request.nu = fields.doubles("nu");
    request.nuMap = readMap(fields, "nuMap");
    request.kMaxMap = readMap(fields, "kMaxMap");
    request.negativePrompt = fields.integers("negativePrompt");
    if (fields.has("interpolate")) {
        const Fields other = fields.object("interpolate");
        request.interpolate = {other.integers("tokens"), other.number("weight")};
    }
    request.layoutEdit = readPromptEdit(fields, "layoutEdit");
    request.negativeEdit = readPromptEdit(fields, "negativeEdit");
    request.conditioning = readPictureConditioning(fields);
    if (fields.has("loras")) request.loras = readLoras(fields);
    visitValues(request, ReadValue{fields});
    request.seeds = fields.has("seeds") ? fields.seeds("seeds")
                                        : std::vector<std::uint64_t>{fields.seed("seed")};
    request.sharing = readSharing(fields);
    return request;
}

std::vector<std::int32_t> readTokens(const Napi::Value &value) {
    if (!value.IsTypedArray() ||
        value.As<Napi::TypedArray>().TypedArrayType() != napi_int32_array) {
        throw toJs(value.Env(), Error("INVALID_ARGUMENT", "tokens must be an Int32Array"));
    }
    const auto array = value.As<Napi::Int32Array>();
    return std::vector<std::int32_t>(array.Data(), array.Data() + array.ElementLength());
}

std::string readText(const Napi::Value &value, const std::string &name) {
    if (value.IsString()) return value.As<Napi::String>().Utf8Value();
    throw Error("INVALID_ARGUMENT", name + " must be a string");
}

std::vector<std::string> readTexts(const Napi::Value &value, const std::string &name) {
    if (!value.IsArray()) throw Error("INVALID_ARGUMENT", name + " must be an array");
    const auto array = value.As<Napi::Array>();
    std::vector<std::string> texts;
    for (std::uint32_t i = 0; i < array.Length(); i++) {
        texts.push_back(readText(array.Get(i), "every element of " + name));
    }
    return texts;
}

// ---------------------------------------------------------------------------------------------
// To JavaScript

Napi::Value toJs(Napi::Env env, const DeviceInfo &device) {
    Napi::Object object = Napi::Object::New(env);
    object.Set("id", device.id);
    object.Set("description", device.description);
    object.Set("backend", device.backend);
    object.Set("kind", device.kind);
    object.Set("totalMemory", number(env, device.totalMemory));
    object.Set("freeMemory", number(env, device.freeMemory));
    return object;
}

Napi::Value toJs(Napi::Env env, const ModelInfo &info) {
    const auto object = [&](const Properties &properties) { return objectOf(env, properties); };
    const auto count = [&](std::uint64_t value) { return number(env, value); };
    const auto integer = [&](int value) { return Napi::Number::New(env, value); };
    const auto text = [&](const std::string &value) { return Napi::String::New(env, value); };
    const auto embedding = [&](const Embedding &each) {
        return object({{"placeholder", text(each.placeholder)},
                       {"tokens", integer(static_cast<int>(each.ids.size()))},
                       {"ids", numbers(env, each.ids)},
                       {"anyCase", Napi::Boolean::New(env, each.anyCase)},
                       {"wholeWord", Napi::Boolean::New(env, each.wholeWord)}});
    };
    const auto &textEncoders = info.sizes.textEncoders;
    const auto &unet = info.sizes.unet;
    const auto &vae = info.sizes.vae;
    const auto textEncoder = [&](std::size_t i) -> Napi::Value {
        if (i >= textEncoders.size()) return env.Null();
        const auto &each = textEncoders[i];
        return object({{"width", integer(each.width)},
                       {"layers", integer(each.layers)},
                       {"heads", integer(each.heads)},
                       {"vocabulary", integer(each.vocabulary)},
                       {"padding", integer(each.padding)}});
    };
    return object({
        {"path", text(info.path)},
        {"format", text(info.format)},
        {"family", text(info.family)},
        {"prediction", text(info.prediction)},
        {"device", text(info.device)},
        {"placement", object({{"textEncoder", text(info.placement.textEncoder)},
                              {"unet", text(info.placement.unet)},
                              {"vae", text(info.placement.vae)}})},
        {"precision", text(info.precision)},
        {"kernels", text(info.kernels)},
        {"hashes", object({{"textEncoder", text(info.hashes.textEncoder)},
                           {"unet", text(info.hashes.unet)},
                           {"vae", text(info.hashes.vae)}})},
        {"threads", integer(info.threads)},
        {"parameters", object({{"total", count(info.parameters.total)},
                               {"textEncoder", count(info.parameters.textEncoder)},
                               {"unet", count(info.parameters.unet)},
                               {"vae", count(info.parameters.vae)}})},
        {"nativeSize", integer(info.nativeSize)},
        {"sizes",
         object({{"textEncoder", textEncoder(0)},
                 {"textEncoder2", textEncoder(1)},
                 {"unet", object({{"channels", numbers(env, unet.channels)},
                                  {"heads", numbers(env, unet.heads)},
                                  {"layersPerLevel", integer(unet.layersPerLevel)},
                                  {"contextWidth", integer(unet.contextWidth)},
                                  {"normGroups", integer(unet.normGroups)}})},
                 {"vae", object({{"channels", numbers(env, vae.channels)},
                                 {"normGroups", integer(vae.normGroups)},
                                 {"scalingFactor", Napi::Number::New(env, vae.scalingFactor)}})}})},
        {"tinyDecoder", info.tinyDecoder
                            ? object({{"path", text(info.tinyDecoder->path)},
                                      {"hash", text(info.tinyDecoder->hash)},
                                      {"parameters", count(info.tinyDecoder->parameters)},
                                      {"channels", numbers(env, info.tinyDecoder->channels)}})
                            : env.Null()},
        {"embeddings", arrayOf(env, info.embeddings, embedding)},
        {"memory", object({{"weights", count(info.memory.weights)},
                           {"textEncoders", count(info.memory.textEncoders)}})},
    });
}

Napi::Value toJs(Napi::Env env, const Inspection &inspection) {
    const auto tensor = [&](const TensorInfo &info) {
        Napi::Object object = Napi::Object::New(env);
        object.Set("name", info.name);
        object.Set("type", info.type);
        object.Set("shape", numbers(env, info.shape));
        object.Set("bytes", number(env, info.bytes));
        object.Set("file", info.file);
        return object;
    };
    Napi::Object object = Napi::Object::New(env);
    object.Set("path", inspection.path);
    object.Set("format", inspection.format);
    object.Set("family", inspection.family);
    object.Set("fileBytes", number(env, inspection.fileBytes));
    object.Set("tensors", arrayOf(env, inspection.tensors, tensor));
    object.Set("ignored", texts(env, inspection.ignored));
    object.Set("model", inspection.model ? toJs(env, *inspection.model) : env.Null());
    object.Set("problem", inspection.problem);
    object.Set("workingBytes", number(env, inspection.workingBytes));
    return object;
}

Napi::Value toJs(Napi::Env env, const Conversion &conversion) {
    Napi::Object types = Napi::Object::New(env);
    for (const auto &[type, count] : conversion.tensorsOfType) types.Set(type, count);
    Napi::Object object = Napi::Object::New(env);
    object.Set("path", conversion.path);
    object.Set("bytes", number(env, conversion.bytes));
    object.Set("tensors", types);
    return object;
}

Napi::Value toJs(Napi::Env env, const Progress &progress) {
    Napi::Object object = Napi::Object::New(env);
    object.Set("stage", stageName(progress.stage));
    object.Set("step", progress.step);
    object.Set("steps", progress.steps);
    object.Set("timestep", progress.timestep);
    object.Set("etaMs", progress.etaMs);
    if (progress.preview) {
        Napi::Object preview = Napi::Object::New(env);
        preview.Set("width", progress.preview->width);
        preview.Set("height", progress.preview->height);
        preview.Set("data", copyOf<Napi::Uint8Array>(env, progress.preview->rgb));
        object.Set("preview", preview);
    }
    return object;
}

Napi::Value toJs(Napi::Env env, const Scores &scores) {
    Napi::Object object = Napi::Object::New(env);
    object.Set("content", scores.content);
    if (scores.layoutPrompt) object.Set("layoutPrompt", *scores.layoutPrompt);
    object.Set("layout", scores.layout);
    object.Set("unetCalls", kScoreCalls);
    return object;
}

Napi::Value toJs(Napi::Env env, const MixResult &result) {
    const auto state = [&](const State &value) {
        Napi::Object object = Napi::Object::New(env);
        object.Set("index", value.index);
        object.Set("timestep", value.timestep);
        object.Set("latent", copyOf<Napi::Float32Array>(env, value.latent));
        return object;
    };
    Napi::Object timings = Napi::Object::New(env);
    timings.Set("encode", result.timings.encode);
    timings.Set("steps", numbers(env, result.timings.steps));
    timings.Set("score", result.timings.score);
    timings.Set("decode", result.timings.decode);
    timings.Set("total", result.timings.total);

    Napi::Object calls = Napi::Object::New(env);
    calls.Set("full", result.unetCalls.full);
    calls.Set("cached", result.unetCalls.cached);
    calls.Set("unguided", result.unetCalls.unguided);

    Napi::Object object = Napi::Object::New(env);
    Napi::Array pictures = Napi::Array::New(env);
    for (std::size_t s = 0; s < result.pictures.size(); s++) {
        const Napi::Value scores = result.scores.empty() ? env.Null() : toJs(env, result.scores[s]);
        pictures.Set(static_cast<std::uint32_t>(s),
                     objectOf(env, {{"data", copyOf<Napi::Uint8Array>(env, result.pictures[s].rgb)},
                                    {"scores", scores}}));
    }
    object.Set("width", result.pictures.front().width);
    object.Set("height", result.pictures.front().height);
    object.Set("pictures", pictures);
    object.Set("trace", arrayOf(env, result.trace, state));
    object.Set("layoutTrace", arrayOf(env, result.layoutTrace, state));
    object.Set("unetCalls", calls);
    object.Set("timings", timings);
    return object;
}

Napi::Value toJs(Napi::Env env, const std::vector<ConfigKey> &keys) {
    const auto text = [&](const std::string &value) { return Napi::String::New(env, value); };
    return arrayOf(env, keys, [&](const ConfigKey &key) {
        const char *treatments[] = {"honoured", "harmless", "only"};
        return objectOf(env, {{"file", text(key.file)},
                              {"key", text(key.key)},
                              {"treatment", text(treatments[static_cast<int>(key.treatment)])},
                              {"values", text(key.values)},
                              {"why", text(key.why)}});
    });
}

Napi::Value toJs(Napi::Env env, const std::vector<StageValues> &stages) {
    return arrayOf(env, stages, [&](const StageValues &stage) {
        Napi::Object object = Napi::Object::New(env);
        object.Set("name", stage.name);
        object.Set("shape", numbers(env, stage.shape));
        object.Set("values", copyOf<Napi::Float32Array>(env, stage.values));
        return object;
    });
}

/// As `readSchedule` takes it: what decides at which timesteps a sampler calls the network.
Napi::Value toJs(Napi::Env env, const Schedule &schedule) {
    const bool linear = schedule.betas == Schedule::Betas::Linear;
    const auto number = [&](double value) { return Napi::Number::New(env, value); };
    const auto flag = [&](bool value) { return Napi::Boolean::New(env, value); };
    return objectOf(env, {{"betas", Napi::String::New(env, linear ? "linear" : "scaled_linear")},
                          {"betaStart", number(schedule.betaStart)},
                          {"betaEnd", number(schedule.betaEnd)},
                          {"spacing", Napi::String::New(env, spacingName(schedule.spacing))},
                          {"stepsOffset", number(schedule.stepsOffset)},
                          {"trainingSteps", number(schedule.trainingSteps)},
                          {"endsClean", flag(schedule.finalLevel == Schedule::FinalLevel::One)},
                          {"zeroTerminalSnr", flag(schedule.zeroTerminalSnr)}});
}

Napi::Value toJs(Napi::Env env, const SweepPlan &plan) {
    return arrayOf(env, plan.cells, [&](const SweepPlan::Cell &cell) {
        return objectOf(env, {{"unetCalls", Napi::Number::New(env, cell.unetCalls)},
                              {"callsOfSingleMix", Napi::Number::New(env, cell.callsOfSingleMix)},
                              {"keepLayout", copyOf<Napi::Int32Array>(env, cell.keepLayout)},
                              {"keepContent", copyOf<Napi::Int32Array>(env, cell.keepContent)}});
    });
}

Napi::Value toJs(Napi::Env env, const Levels &levels) {
    const std::vector<double> states(levels.of.begin(), levels.of.end() - 1);
    Napi::Object object = Napi::Object::New(env);
    object.Set("timesteps", copyOf<Napi::Float64Array>(env, levels.timesteps));
    object.Set("alphaBar", copyOf<Napi::Float64Array>(env, states));
    object.Set("alphaBarNext", copyOf<Napi::Float64Array>(env, levels.after));
    object.Set("fresh", copyOf<Napi::Float64Array>(env, levels.fresh));
    object.Set("first", levels.first);
    object.Set("end", levels.of.back());
    return object;
}

} // namespace magicmix::binding
