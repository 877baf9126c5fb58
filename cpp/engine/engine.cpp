#include "engine/engine.h"

#include "checkpoint/bundled_embeddings.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/model_file.h"
#include "diffusion/schedule.h"
#include "embeddings/added_tokens.h"
#include "embeddings/learnt_tokens.h"
#include "engine/mix_run.h"
#include "engine/networks.h"
#include "engine/text_encoding.h"
#include "lora/loras.h"
#include "model/names.h"
#include "model/pixels.h"
#include "model/probe.h"

#include <algorithm>
#include <map>

namespace magicmix {
namespace {

Architecture architectureOf(const Checkpoint &checkpoint, const LearntTokens &learnt,
                            const LoadOptions &options) {
    Architecture architecture = deduceArchitecture(
        checkpoint, checkpoint.config().overriddenBy(options.config), options.clipSkip);
    for (auto &text : architecture.texts) text.vocabulary += learnt.count();
    return architecture;
}

/// Those of the option, and those that LoRAs bring along. Of one name the option's counts.
std::vector<EmbeddingFile> embeddingsOf(const LoadOptions &options, const Cancellation &cancel) {
    std::vector<EmbeddingFile> files = options.embeddings;
    const std::size_t given = files.size();
    for (const auto &lora : options.loras) {
        const std::string path = loraFileAt(lora.file);
        for (const auto &name : bundledEmbeddings(readModelFile(path, cancel).tensors, path)) {
            const auto known =
                std::find_if(files.begin(), files.end(),
                             [&](const EmbeddingFile &each) { return each.placeholder == name; });
            if (known == files.end()) {
                files.push_back({name, path});
            } else if (known - files.begin() >= static_cast<std::ptrdiff_t>(given) &&
                       known->path != path) {
                throw Error("MODEL_UNSUPPORTED",
                            "the LoRAs '" + known->path + "' and '" + path +
                                "' both bring an embedding '" + name +
                                "' along; choose the one that is meant in `embeddings`",
                            {{"path", path}, {"placeholder", name}});
            }
        }
    }
    return files;
}

std::vector<std::string> namesOf(const std::vector<Embedding> &embeddings) {
    std::vector<std::string> names;
    for (const auto &embedding : embeddings) names.push_back(embedding.placeholder);
    return names;
}

/// The length of the token table, which all text encoders of a model have in common.
int tokenRows(const Checkpoint &checkpoint) {
    std::optional<std::int64_t> rows;
    for (const auto &table : tokenTables(checkpoint)) {
        const auto shape = checkpoint.describe(table).shape;
        const std::int64_t length = shape.size() == 2 ? shape[0] : 0;
        if (length != rows.value_or(length)) {
            throw Error("MODEL_UNSUPPORTED",
                        "one text encoder of the model knows " + std::to_string(*rows) +
                            " tokens, the other " + std::to_string(length) +
                            "; both have to know the same",
                        {{"tensor", table}});
        }
        rows = length;
    }
    return static_cast<int>(std::min<std::int64_t>(rows.value_or(0), 1 << 20));
}

} // namespace

struct Engine::Parts {
    Parts(Checkpoint opened, const LoadOptions &options, const Cancellation &cancel)
        : checkpoint(std::move(opened)),
          added(addedPlaceholders(checkpoint.config().tokenizer.added, tokenRows(checkpoint))),
          learnt(checkpoint, embeddingsOf(options, cancel), cancel),
          networks(architectureOf(checkpoint, learnt, options), options, checkpoint),
          loras(checkpoint, networks.weights(), namesOf(learnt.placeholders())),
          loadedLoras(options.loras),
          earlier(static_cast<std::size_t>(options.keptBytes), networks.keepsTexts()) {}

    Checkpoint checkpoint; // stays open for the weights under a LoRA
    std::vector<Embedding> added;
    LearntTokens learnt;
    Networks networks;
    Loras loras;
    TextSource texts{checkpoint, learnt, loras};
    std::vector<Lora> loadedLoras;
    EarlierWork earlier;
    std::map<int, SharedStates> sweeps; // by number
    ModelInfo info;

    /// Those of the model's own tokenizer, and those of files, which win.
    std::vector<Embedding> placeholders() const {
        std::vector<Embedding> all = learnt.placeholders();
        for (const Embedding &each : added) {
            const auto same = [&](const Embedding &other) {
                return other.placeholder == each.placeholder;
            };
            if (std::none_of(all.begin(), all.end(), same)) all.push_back(each);
        }
        return all;
    }

    void useLoras(const std::vector<Lora> &wanted, const Cancellation &cancel) {
        loras.use(wanted, networks.device(), cancel);
    }
    /// For work that is no request of its own.
    void useLoadedLoras(const Cancellation &cancel) { useLoras(loadedLoras, cancel); }

    void requireTinyDecoder() const {
        if (networks.hasTinyDecoder()) return;
        throw Error("INVALID_ARGUMENT",
                    "decoder is 'tiny', but the model was loaded without a tiny decoder; name one "
                    "in the option tinyDecoder of load, such as hf:madebyollin/taesd",
                    {{"name", std::string("decoder")}});
    }

    /// For models that come in two kinds and do not say of which they are.
    void detectPrediction(const Cancellation &cancel) {
        auto &prediction = networks.architecture.schedule.prediction;
        if (prediction) return;
        const Tokens tokens = emptyPrompt(networks.architecture.texts.front().padding);
        const Conditioning conditioning = TextEncoding(networks, texts, cancel).encode(tokens);
        const PromptContext empty = runContext(networks.unet(), conditioning, cancel);
        const auto usual = networks.architecture.family->unet.usualPrediction;
        prediction = probePrediction(networks.unet(), empty, usual, cancel);
    }
};

std::unique_ptr<Engine> Engine::load(const LoadOptions &options, const Cancellation &cancel,
                                     const ProgressCallback &progress) {
    Checkpoint checkpoint = Checkpoint::open(options.files, cancel);
    checkpoint.requireAllNetworks();
    cancel.throwIfRequested();
    auto parts = std::make_unique<Parts>(std::move(checkpoint), options, cancel);
    parts->networks.check(parts->learnt);
    parts->checkpoint.requireNothingLeft(parts->networks.names(), parts->networks.architecture);
    parts->networks.requireMemoryToLoad();
    parts->networks.load(parts->learnt, cancel, progress);
    parts->detectPrediction(cancel);
    parts->useLoadedLoras(cancel);
    parts->info = describe(parts->checkpoint, parts->networks);
    parts->info.embeddings = parts->placeholders();
    return std::unique_ptr<Engine>(new Engine(std::move(parts)));
}

Engine::Engine(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
Engine::~Engine() = default;
const ModelInfo &Engine::info() const { return parts_->info; }

MixResult Engine::mix(const MixRequest &request, const Cancellation &cancel,
                      const ProgressCallback &progress) {
    checkMixRequest(request, {parts_->info.sizes.textEncoders.front().vocabulary,
                              parts_->networks.unet().network.upBlocks(),
                              parts_->networks.unet().network.addedWidth() > 0});
    if (request.decoder == "tiny") parts_->requireTinyDecoder();
    SharedStates *states = request.sharing ? &parts_->sweeps[request.sharing->sweep] : nullptr;
    MixRun run(parts_->networks, parts_->texts, parts_->earlier, states, request, cancel, progress);
    run.requireMemory();
    parts_->useLoras(request.loras.value_or(parts_->loadedLoras), cancel);
    return run.run();
}

void Engine::endSweep(int sweep) { parts_->sweeps.erase(sweep); }
const Schedule &Engine::schedule() const { return parts_->networks.schedule(); }

// ---------------------------------------------------------------------------------------------
// The parts, one by one

Conditioning Engine::encodeText(const Tokens &tokens, const Cancellation &cancel) {
    checkTokens(tokens, parts_->info.sizes.textEncoders.front().vocabulary, "tokens");
    parts_->useLoadedLoras(cancel);
    return TextEncoding(parts_->networks, parts_->texts, cancel).encode(tokens);
}

Latent Engine::predictNoise(const NoiseInput &input, const Cancellation &cancel,
                            std::vector<StageValues> *stages) {
    checkLatent(input.latent, input.size);
    Networks &networks = parts_->networks;
    checkConditioning(input.conditioning, networks.architecture.unet.contextWidth,
                      networks.architecture.texts.back().pooledWidth);
    checkAttention(input.attention);
    const double alphaBar = alphaBarAt(cumulativeAlphas(networks.schedule()), input.timestep);
    parts_->useLoadedLoras(cancel);
    const PromptContext context = scaled(runContext(networks.unet(), input.conditioning, cancel),
                                         tokenScales(input.attention));
    const int height = input.size.height * kPixelsPerCell,
              width = input.size.width * kPixelsPerCell;
    UNetUse use;
    use.picture = input.picture.value_or(PictureConditioning{height, width, 0, 0, height, width});
    UNetSession session(networks.unet(), input.size, use, stages != nullptr);
    session.setPrompts({&context});
    Latent predicted = session.predict(input.latent, input.timestep, cancel).front();
    if (stages) *stages = session.stages();
    return noiseOf(networks.prediction(), std::move(predicted), input.latent, alphaBar);
}

Latent Engine::encodePicture(const std::vector<std::uint8_t> &rgb, PixelSize size,
                             const Cancellation &cancel, std::vector<StageValues> *stages) {
    checkSize(size);
    checkPixels(rgb, size);
    return encodeMean(parts_->networks.vae(), toPlanes(rgb), size, cancel, stages);
}

std::vector<float> Engine::decodeLatent(const Latent &latent, CellSize size,
                                        const Cancellation &cancel,
                                        std::vector<StageValues> *stages) {
    checkLatent(latent, size);
    return decodeScaled(parts_->networks.vae(), latent, size, cancel, stages);
}

std::vector<float> Engine::decodeLatentTiny(const Latent &latent, CellSize size,
                                            const Cancellation &cancel) {
    checkLatent(latent, size);
    parts_->requireTinyDecoder();
    return TinyDecoderSession(parts_->networks.tinyDecoder(), size).decode(latent, cancel);
}

} // namespace magicmix
