#include "engine/engine.h"

#include "checkpoint/checkpoint.h"
#include "embeddings/learnt_tokens.h"
#include "engine/request.h"
#include "lora/loras.h"
#include "mix/magicmix.h"
#include "mix/preview.h"
#include "model/names.h"
#include "model/pixels.h"
#include "model/probe.h"
#include "model/sessions.h"

#include <algorithm>
#include <chrono>
#include <cmath>

namespace magicmix {
namespace {

using Clock = std::chrono::steady_clock;

double millisecondsSince(Clock::time_point start) {
    return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

/// Values that are no numbers would go on as black pictures.
void requireFinite(const std::vector<float> &values, const std::string &what) {
    if (std::all_of(values.begin(), values.end(), [](float v) { return std::isfinite(v); })) return;
    throw Error("NOT_FINITE", what + " gave values that are not finite numbers; the weights are "
                                     "damaged, or too large for this precision (try f32)");
}

/// Takes `values` the way towards `others` that `weight` says: 0 none of it, 1 all of it.
void interpolate(std::vector<float> &values, const std::vector<float> &others, double weight) {
    const auto other = static_cast<float>(weight);
    for (std::size_t i = 0; i < values.size(); i++) {
        values[i] = (1 - other) * values[i] + other * others[i];
    }
}

void multiply(std::vector<float> &values, double factor) {
    for (auto &value : values) value = static_cast<float>(value * factor);
}

/// Side of the squares, in pixels, on which the model was trained.
int nativeSize(const ModelConfig &config) { return config.unet.sampleSize() * kPixelsPerCell; }

/// A device, and the weights that lie on it.
struct Station {
    Station(Device opened, const LoadOptions &options, const WeightSource &source)
        : device(std::move(opened)), precision(parsePrecision(options.precision, device.isCpu())),
          weights(precision, device.kernels(precision),
                  options.precision == "auto" ? &source : nullptr) {}

    Device device; // outlives the weights, which lie in its memory
    Precision precision;
    Weights weights;
};

/// The networks of a model: all on one device, or some of them on the CPU. Declares their weights.
struct Networks {
    Networks(const ModelConfig &modelConfig, const LoadOptions &options, const WeightSource &source)
        : main(Device::open(options.device, options.threads), options, source),
          cpu(needsCpu(options, main.device)
                  ? std::make_unique<Station>(Device::open("cpu", options.threads), options, source)
                  : nullptr),
          textStation(options.textEncoderOnCpu && cpu ? *cpu : main),
          vaeStation(options.vaeOnCpu && cpu ? *cpu : main), config(modelConfig),
          text(textStation.weights, config.text), unet(main.weights, config.unet),
          vae(vaeStation.weights, config.vae) {}

    static bool needsCpu(const LoadOptions &options, const Device &device) {
        return (options.textEncoderOnCpu || options.vaeOnCpu) && !device.isCpu();
    }

    std::vector<Station *> stations() {
        return cpu ? std::vector<Station *>{&main, cpu.get()} : std::vector<Station *>{&main};
    }
    std::vector<const Weights *> weights() const {
        return cpu ? std::vector<const Weights *>{&main.weights, &cpu->weights}
                   : std::vector<const Weights *>{&main.weights};
    }
    std::uint64_t parameters(const std::string &prefix) const {
        std::uint64_t sum = 0;
        for (const Weights *each : weights()) sum += each->parameters(prefix);
        return sum;
    }
    std::uint64_t bytes() const {
        std::uint64_t sum = 0;
        for (const Weights *each : weights()) sum += each->bytes();
        return sum;
    }

    Station main;
    std::unique_ptr<Station> cpu;
    Station &textStation, &vaeStation;
    ModelConfig config;
    TextEncoder text;
    UNet unet;
    Autoencoder vae;
};

/// What a mix takes at its worst moment, beside the weights, by device.
struct WorkingMemory {
    std::uint64_t main = 0, cpu = 0;
};

WorkingMemory measure(Networks &networks, int width, int height) {
    Station &main = networks.main, &vae = networks.vaeStation;
    WorkingMemory memory;
    memory.main = unetMemory(main.device, main.precision, networks.unet, width, height);
    std::uint64_t &ofVae = &vae == &main ? memory.main : memory.cpu;
    ofVae = std::max(ofVae, vaeMemory(vae.device, vae.precision, networks.vae, width, height));
    return memory;
}

/// Of a mix of the model's native size, before the weights are loaded.
WorkingMemory measureUnloaded(Networks &networks) {
    for (Station *station : networks.stations()) station->weights.pretend();
    const int side = nativeSize(networks.config);
    const WorkingMemory memory = measure(networks, side, side);
    for (Station *station : networks.stations()) station->weights.endPretence();
    return memory;
}

ModelInfo describe(const Checkpoint &checkpoint, const Networks &networks) {
    const ModelConfig &config = networks.config;
    ModelInfo info;
    info.path = checkpoint.path();
    info.format = checkpoint.format();
    info.family = config.family;
    info.prediction = config.unet.prediction ? predictionName(*config.unet.prediction) : "";
    info.precision = precisionName(networks.main.precision);
    info.textEncoderParameters = networks.parameters(kTextPrefix);
    info.unetParameters = networks.parameters(kUnetPrefix);
    info.vaeParameters = networks.parameters(kVaePrefix);
    info.device = networks.main.device.id();
    info.textEncoderDevice = networks.textStation.device.id();
    info.vaeDevice = networks.vaeStation.device.id();
    info.weightBytes = networks.bytes();
    info.textWidth = config.text.width;
    info.textLayers = config.text.layers;
    info.textHeads = config.text.heads;
    info.vocabulary = config.text.vocabulary;
    info.unetChannels = config.unet.channels;
    info.unetHeads = config.unet.heads;
    info.unetLayersPerLevel = config.unet.layers;
    info.contextWidth = config.unet.contextWidth;
    info.unetNormGroups = config.unet.normGroups;
    info.vaeChannels = config.vae.channels;
    info.vaeNormGroups = config.vae.normGroups;
    info.vaeScalingFactor = config.vae.scalingFactor;
    info.nativeSize = nativeSize(config);
    return info;
}

} // namespace

// ---------------------------------------------------------------------------------------------
// Loading

namespace {

ModelConfig configOf(const Checkpoint &checkpoint, const LearntTokens &learnt,
                     const ConfigOverrides &overrides) {
    ModelConfig config = deduceConfig(checkpoint, checkpoint.config(), overrides);
    config.text.vocabulary += learnt.count();
    return config;
}

} // namespace

struct Engine::Parts {
    Parts(Checkpoint opened, const LoadOptions &options)
        : checkpoint(std::move(opened)), learnt(checkpoint, options.embeddings),
          networks(configOf(checkpoint, learnt, options.config), options, checkpoint),
          loras(checkpoint, weightsOf(networks)), loadedLoras(options.loras) {}

    Checkpoint checkpoint; // stays open for the weights under a LoRA
    LearntTokens learnt;
    Networks networks;
    Loras loras;
    std::vector<Lora> loadedLoras;
    ModelInfo info;

    static std::vector<Weights *> weightsOf(Networks &networks) {
        std::vector<Weights *> all;
        for (Station *station : networks.stations()) all.push_back(&station->weights);
        return all;
    }

    void useLoras(const std::vector<Lora> &wanted, const Cancellation &cancel) {
        loras.use(wanted, networks.main.device.threads(), cancel);
    }
    /// For work that is no request of its own.
    void useLoadedLoras(const Cancellation &cancel) { useLoras(loadedLoras, cancel); }

    std::vector<float> textStates(const std::vector<std::int32_t> &tokens,
                                  const Cancellation &cancel) {
        Station &station = networks.textStation;
        return runTextEncoder(station.device, station.precision, networks.text, tokens, cancel);
    }
    PromptContext context(const std::vector<float> &states, const Cancellation &cancel) {
        Station &station = networks.main;
        return runContext(station.device, station.precision, networks.unet, states, cancel);
    }

    /// For models that come in two kinds and do not tell of which they are.
    void findOutPrediction(const Cancellation &cancel) {
        auto &prediction = networks.config.unet.prediction;
        if (prediction) return;
        const PromptContext empty = context(textStates(emptyPrompt(), cancel), cancel);
        Station &station = networks.main;
        prediction =
            probePrediction(station.device, station.precision, networks.unet, empty, cancel);
    }

    Prediction prediction() const { return *networks.config.unet.prediction; }
};

Inspection inspect(const std::string &path, const ConfigOverrides &overrides) {
    const Checkpoint checkpoint = Checkpoint::open(path);
    Inspection inspection;
    inspection.path = path;
    inspection.format = checkpoint.format();
    inspection.fileBytes = checkpoint.fileBytes();
    inspection.ignored = checkpoint.unknown();
    for (const auto &[name, tensor] : checkpoint.tensors()) {
        inspection.tensors.push_back(
            {name, tensor.type, tensor.shape, tensor.bytes, tensor.file->path()});
    }
    try {
        checkpoint.requireAllNetworks();
        Networks networks(deduceConfig(checkpoint, checkpoint.config(), overrides), LoadOptions{},
                          checkpoint);
        networks.main.weights.check(checkpoint);
        inspection.model = describe(checkpoint, networks);
        inspection.family = inspection.model->family;
        inspection.workingBytes = measureUnloaded(networks).main;
    } catch (const Error &error) {
        inspection.problem = error.what();
    }
    return inspection;
}

namespace {

/// Before anything large is read: would the weights, and a mix of the native size, fit?
void requireMemory(Networks &networks) {
    const WorkingMemory working = measureUnloaded(networks);
    const auto require = [](const Station &station, std::uint64_t workingBytes) {
        const std::uint64_t weights = station.weights.bytes();
        station.device.requireMemory(weights + workingBytes,
                                     "the model (" + std::to_string(weights >> 20) +
                                         " MiB of weights, and a mix of its native size)");
    };
    require(networks.main, working.main);
    if (networks.cpu) require(*networks.cpu, working.cpu);
}

/// Before hours are spent on a picture that cannot be decoded in the end. What is not larger than
/// the native size was found to fit when the model was loaded.
void requireMemory(Networks &networks, int width, int height) {
    const int side = nativeSize(networks.config);
    if (width * height <= side * side) return;
    const WorkingMemory working = measure(networks, width, height);
    const std::string purpose = "a mix of " + std::to_string(width) + "x" + std::to_string(height);
    networks.main.device.requireMemory(working.main, purpose);
    if (networks.cpu) networks.cpu->device.requireMemory(working.cpu, purpose);
}

} // namespace

std::unique_ptr<Engine> Engine::load(const LoadOptions &options, const Cancellation &cancel,
                                     const ProgressCallback &progress) {
    Checkpoint checkpoint = Checkpoint::open(options.model);
    checkpoint.requireAllNetworks();
    cancel.throwIfRequested();
    auto parts = std::make_unique<Parts>(std::move(checkpoint), options);
    Networks &networks = parts->networks;
    for (const Weights *weights : networks.weights()) weights->check(parts->learnt);
    requireMemory(networks);

    int before = 0, all = 0;
    for (const Weights *weights : networks.weights()) all += weights->count();
    for (Station *station : networks.stations()) {
        station->weights.load(parts->learnt, station->device, cancel, [&](int done) {
            Progress event;
            event.stage = Stage::Load;
            event.step = before + done;
            event.steps = all;
            progress(event);
        });
        before += station->weights.count();
    }

    parts->findOutPrediction(cancel);
    parts->useLoadedLoras(cancel);

    parts->info = describe(parts->checkpoint, networks);
    parts->info.learnt = parts->learnt.placeholders();
    parts->info.threads = networks.main.device.threads();
    return std::unique_ptr<Engine>(new Engine(std::move(parts)));
}

Engine::Engine(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
Engine::~Engine() = default;
const ModelInfo &Engine::info() const { return parts_->info; }

// ---------------------------------------------------------------------------------------------
// The parts, one by one

std::vector<float> Engine::encodeText(const std::vector<std::int32_t> &tokens,
                                      const Cancellation &cancel) {
    checkTokens(tokens, parts_->info.vocabulary, "tokens");
    parts_->useLoadedLoras(cancel);
    return parts_->textStates(tokens, cancel);
}

std::vector<float> Engine::predictNoise(const std::vector<float> &latent, int latentWidth,
                                        int latentHeight, int timestep,
                                        const std::vector<float> &textStates,
                                        const std::vector<AttentionScale> &scales,
                                        const Cancellation &cancel,
                                        std::vector<StageValues> *stages) {
    checkLatent(latent, latentWidth, latentHeight);
    checkTextStates(textStates, parts_->info.textWidth);
    checkScales(scales);
    parts_->useLoadedLoras(cancel);
    const PromptContext context = scaled(parts_->context(textStates, cancel), tokenScales(scales));
    Station &station = parts_->networks.main;
    UNetSession session(station.device, station.precision, parts_->networks.unet, latentWidth,
                        latentHeight, 1, stages != nullptr);
    session.setPrompts({&context});
    auto predicted = session.predict(latent, timestep, cancel).front();
    if (stages) *stages = session.stages();
    return noiseOf(parts_->prediction(), std::move(predicted), latent, timestep);
}

std::vector<float> Engine::encodePicture(const std::vector<std::uint8_t> &rgb, int width,
                                         int height, const Cancellation &cancel,
                                         std::vector<StageValues> *stages) {
    checkSize(width, height);
    checkPixels(rgb, width, height);
    Station &station = parts_->networks.vaeStation;
    std::vector<float> mean = runEncoder(station.device, station.precision, parts_->networks.vae,
                                         toPlanes(rgb), width, height, cancel, stages);
    mean.resize(mean.size() / 2); // the second half is the log variance
    return mean;
}

std::vector<float> Engine::decodeLatent(const std::vector<float> &latent, int latentWidth,
                                        int latentHeight, const Cancellation &cancel,
                                        std::vector<StageValues> *stages) {
    checkLatent(latent, latentWidth, latentHeight);
    std::vector<float> z = latent;
    multiply(z, 1 / parts_->networks.vae.scalingFactor());
    Station &station = parts_->networks.vaeStation;
    return runDecoder(station.device, station.precision, parts_->networks.vae, z, latentWidth,
                      latentHeight, cancel, stages);
}

// ---------------------------------------------------------------------------------------------
// Mixing

namespace {

/// Counts what is done, and tells the caller.
class Reporter {
public:
    Reporter(const ProgressCallback &progress, int unetSteps)
        : progress_(progress), all_(unetSteps) {}

    void begin(Stage stage, int steps) {
        event_ = Progress{};
        event_.stage = stage;
        event_.steps = steps;
        send();
    }

    void done(int timestep = 0, std::shared_ptr<const Picture> preview = nullptr) {
        event_.step++;
        event_.timestep = timestep;
        event_.preview = std::move(preview);
        send();
        event_.preview.reset();
    }

    void unetStepTook(double milliseconds) { steps_.push_back(milliseconds); }
    const std::vector<double> &unetSteps() const { return steps_; }

private:
    void send() {
        double sum = 0;
        for (const double ms : steps_) sum += ms;
        const double left = all_ - static_cast<double>(steps_.size());
        event_.etaMs = steps_.empty() ? 0 : left * sum / static_cast<double>(steps_.size());
        progress_(event_);
    }

    const ProgressCallback &progress_;
    int all_;
    Progress event_;
    std::vector<double> steps_;
};

/// Calls the UNet for the two prompts of guidance at once, for the one prompt if guidance is 1.
class GuidedUnet {
public:
    GuidedUnet(Device &device, Precision precision, const UNet &unet, Prediction prediction,
               const MixRequest &request, const PromptContext &negative,
               const std::vector<int> &timesteps, Reporter &reporter, const Cancellation &cancel)
        : prediction_(prediction), guidanceScale_(request.guidanceScale),
          session_(device, precision, unet, request.width / kPixelsPerCell,
                   request.height / kPixelsPerCell, isGuided() ? 2 : 1),
          negative_(negative), reporter_(reporter), cancel_(cancel) {
        session_.prepare(timesteps, cancel);
    }

    void setPrompt(const PromptContext &context) {
        if (isGuided()) {
            session_.setPrompts({&negative_, &context});
        } else {
            session_.setPrompts({&context});
        }
    }

    Latent denoise(const Latent &latent, int timestep) {
        const auto start = Clock::now();
        std::vector<Latent> each = session_.predict(latent, timestep, cancel_);
        Latent guided = isGuided() ? guide(each[0], each[1], guidanceScale_) : std::move(each[0]);
        Latent result = noiseOf(prediction_, std::move(guided), latent, timestep);
        requireFinite(result, "the UNet at timestep " + std::to_string(timestep));
        reporter_.unetStepTook(millisecondsSince(start));
        return result;
    }

private:
    bool isGuided() const { return guidanceScale_ != 1; }

    Prediction prediction_;
    double guidanceScale_;
    UNetSession session_;
    const PromptContext &negative_;
    Reporter &reporter_;
    const Cancellation &cancel_;
};

} // namespace

MixResult Engine::mix(const MixRequest &request, const Cancellation &cancel,
                      const ProgressCallback &progress) {
    checkMixRequest(request, parts_->info.vocabulary);
    const auto start = Clock::now();
    Networks &networks = parts_->networks;
    requireMemory(networks, request.width, request.height);
    const int width = request.width / kPixelsPerCell, height = request.height / kPixelsPerCell;
    const auto latentSize = static_cast<std::size_t>(kLatentChannels * width * height);
    const bool fromPrompt = request.layoutPixels.empty();

    Generator generator(request.seed);
    Ddim ddim(request.steps, request.eta, generator);
    const Mixing mixing(request.kMin, request.kMax, request.nu, request.steps);
    const int layoutSteps = fromPrompt ? mixing.lastLayout() : 0;
    const int contentSteps = request.steps - mixing.iMax;
    Reporter reporter(progress, layoutSteps + contentSteps);
    MixResult result;
    result.width = request.width;
    result.height = request.height;

    parts_->useLoras(request.loras.value_or(parts_->loadedLoras), cancel);

    // Encode: the prompts to keys and values, the picture to a latent.
    reporter.begin(Stage::Encode, 3);
    const auto statesOf = [&](const std::vector<std::int32_t> &tokens) {
        auto states = parts_->textStates(tokens, cancel);
        requireFinite(states, "the text encoder");
        return states;
    };
    const auto contextOf = [&](const std::vector<float> &states) {
        PromptContext context = parts_->context(states, cancel);
        reporter.done();
        return context;
    };
    std::vector<float> contentStates = statesOf(request.contentTokens);
    if (!request.otherTokens.empty()) {
        interpolate(contentStates, statesOf(request.otherTokens), request.otherWeight);
    }
    const PromptContext content = contextOf(contentStates);
    const PromptContext negative = contextOf(statesOf(request.negativeTokens));
    PromptContext layoutPrompt;
    Latent z0;
    if (fromPrompt) {
        layoutPrompt = contextOf(statesOf(request.layoutTokens));
    } else {
        z0 = encodePicture(request.layoutPixels, request.width, request.height, cancel);
        requireFinite(z0, "the autoencoder");
        multiply(z0, networks.vae.scalingFactor());
        reporter.done();
    }
    const Latent noise = generator.randn(latentSize);
    result.timings.encode = millisecondsSince(start);

    Latent mixed;
    {
        // The UNet's working memory goes back before the decoder takes its own.
        std::vector<int> timesteps;
        const int first = fromPrompt ? 0 : mixing.iMax;
        for (int i = first; i < request.steps; i++) timesteps.push_back(ddim.timestep(i));
        GuidedUnet unet(networks.main.device, networks.main.precision, networks.unet,
                        parts_->prediction(), request, negative, timesteps, reporter, cancel);
        const auto observe = [&](std::vector<State> &trace) {
            return [&](int i, const Latent &state, const Latent *clean) {
                if (request.trace) trace.push_back({i, ddim.timestep(i), state});
                if (!clean) return;
                const int every = request.previewEvery;
                const bool wanted = every > 0 && i % every == 0;
                reporter.done(ddim.timestep(i - 1),
                              wanted ? std::make_shared<const Picture>(previewOf(
                                           *clean, width, height, networks.vae.latentRgb()))
                                     : nullptr);
            };
        };

        Layout layout = pictureLayout(ddim, z0, noise);
        std::vector<Latent> layoutStates;
        if (fromPrompt) {
            reporter.begin(Stage::Layout, layoutSteps);
            unet.setPrompt(layoutPrompt);
            const auto denoise = [&](const Latent &x, int, int t) { return unet.denoise(x, t); };
            layoutStates = promptLayout(ddim, noise, mixing.lastLayout(), denoise,
                                        observe(result.layoutTrace));
            layout = [&](int i) { return layoutStates[static_cast<std::size_t>(i)]; };
        }

        reporter.begin(Stage::Content, contentSteps);
        std::vector<float> scales;
        const auto denoise = [&](const Latent &x, int i, int t) {
            // Scaled values are made again only where a window of a scale begins or ends.
            std::vector<float> now = tokenScalesAt(request.scales, i, request.steps);
            if (now != scales) {
                scales = std::move(now);
                unet.setPrompt(scaled(content, scales));
            }
            return unet.denoise(x, t);
        };
        mixed = mixStates(ddim, mixing, layout, denoise, observe(result.trace));
    }

    reporter.begin(Stage::Decode, 1);
    const auto decodeStart = Clock::now();
    const std::vector<float> planes = decodeLatent(mixed, width, height, cancel);
    requireFinite(planes, "the autoencoder");
    result.rgb = toRgb(planes);
    result.timings.decode = millisecondsSince(decodeStart);
    reporter.done();

    result.timings.steps = reporter.unetSteps();
    result.timings.total = millisecondsSince(start);
    return result;
}

} // namespace magicmix
