#include "model/sessions.h"

#include "base/numbers.h"
#include "base/tokens.h"

#include <algorithm>
#include <iterator>

namespace magicmix {
namespace {

std::vector<StageValues> readStages(const Graph &graph) {
    std::vector<StageValues> all;
    for (const auto &[name, tensor] : graph.stages()) {
        StageValues stage;
        stage.name = name;
        for (int axis = ggml_n_dims(tensor) - 1; axis >= 0; axis--) {
            stage.shape.push_back(tensor->ne[axis]);
        }
        stage.values = graph.get(tensor);
        all.push_back(std::move(stage));
    }
    return all;
}

/// The encoder or the decoder, as a graph of one input and one output.
class HalfOfVae {
public:
    using Half = Tensor (Autoencoder::*)(Ops &ops, Tensor x) const;

    HalfOfVae(const Placed<Autoencoder> &vae, Half half, const std::vector<std::int64_t> &shape,
              bool keepStages = false)
        : graph_(vae.device) {
        if (keepStages) graph_.keepStages();
        const auto ops = makeOps(graph_, vae.precision);
        input_ = graph_.input(shape);
        output_ = graph_.output((vae.network.*half)(*ops, input_));
    }

    std::uint64_t measure() const { return graph_.measure(); }

    std::vector<float> run(const std::string &purpose, const std::vector<float> &values,
                           const Cancellation &cancel) {
        graph_.allocate(purpose);
        graph_.set(input_, values);
        graph_.compute(cancel);
        return graph_.get(output_);
    }

    std::vector<StageValues> stages() const { return readStages(graph_); }

private:
    Graph graph_;
    Tensor input_ = nullptr, output_ = nullptr;
};

HalfOfVae encoderOf(const Placed<Autoencoder> &vae, PixelSize size, bool keepStages = false) {
    return {vae, &Autoencoder::encode, {size.width, size.height, 3, 1}, keepStages};
}

HalfOfVae decoderOf(const Placed<Autoencoder> &vae, CellSize size, bool keepStages = false) {
    return {vae, &Autoencoder::decode, {size.width, size.height, kLatentChannels, 1}, keepStages};
}

} // namespace

Conditioning runTextEncoder(const Placed<TextEncoder> &encoder, std::vector<std::int32_t> ids,
                            const Cancellation &cancel) {
    const TextEncoderConfig &config = encoder.network.config();
    const auto end = std::find(ids.begin(), ids.end(), kEndOfText);
    if (end != ids.end()) std::fill(end + 1, ids.end(), config.padding);

    Graph graph(encoder.device);
    const auto ops = makeOps(graph, encoder.precision);
    Tensor idInput = graph.input({kContextLength}, GGML_TYPE_I32);
    Tensor positionInput = graph.input({kContextLength}, GGML_TYPE_I32);
    const TextEncoder::Output output = encoder.network.encode(*ops, idInput, positionInput);
    graph.output(output.states);
    if (output.pooled) graph.output(output.pooled);
    graph.allocate("the text encoder");

    std::vector<std::int32_t> positions(kContextLength);
    for (int i = 0; i < kContextLength; i++) positions[static_cast<std::size_t>(i)] = i;
    graph.set(idInput, ids);
    graph.set(positionInput, positions);
    graph.compute(cancel);

    Conditioning conditioning{graph.get(output.states), {}};
    if (output.pooled) {
        const std::vector<float> all = graph.get(output.pooled);
        const auto row =
            all.begin() +
            std::min<std::ptrdiff_t>(end - ids.begin(), kContextLength - 1) * config.pooledWidth;
        conditioning.pooled.assign(row, row + config.pooledWidth);
    }
    return conditioning;
}

PromptContext runContext(const Placed<UNet> &unet, const Conditioning &conditioning,
                         const Cancellation &cancel) {
    const std::vector<float> &textStates = conditioning.context;
    Graph graph(unet.device);
    const auto ops = makeOps(graph, unet.precision);
    const auto width = static_cast<std::int64_t>(textStates.size()) / kContextLength;
    Tensor states = graph.input({width, kContextLength, 1});
    const std::vector<KeysValues> layers = unet.network.context(*ops, states);
    for (const auto &layer : layers) {
        graph.output(layer.keys);
        graph.output(layer.values);
    }
    graph.allocate("keys and values of a prompt");
    graph.set(states, textStates);
    graph.compute(cancel);

    PromptContext context;
    for (const auto &layer : layers) {
        context.layers.push_back({graph.get(layer.keys), graph.get(layer.values)});
    }
    context.pooled = conditioning.pooled;
    return context;
}

PromptContext noPrompt(const UNet &unet, int pooledWidth) {
    PromptContext context;
    for (const int width : unet.crossWidths()) { // keys and values have no bias
        const std::vector<float> zeros(static_cast<std::size_t>(kContextLength * width));
        context.layers.push_back({zeros, zeros});
    }
    context.pooled.resize(static_cast<std::size_t>(pooledWidth));
    return context;
}

PromptContext scaled(const PromptContext &context, const std::vector<float> &scales) {
    PromptContext result = context;
    for (auto &layer : result.layers) {
        const std::size_t width = layer.values.size() / kContextLength;
        for (std::size_t k = 0; k < layer.values.size(); k++) layer.values[k] *= scales[k / width];
    }
    return result;
}

PromptContext split(const PromptContext &first, const PromptContext &second, std::size_t count) {
    PromptContext result = second;
    std::copy_n(first.layers.begin(), count, result.layers.begin());
    return result;
}

Latent encodeMean(const Placed<Autoencoder> &vae, const std::vector<float> &picture, PixelSize size,
                  const Cancellation &cancel, std::vector<StageValues> *stages) {
    HalfOfVae encoder = encoderOf(vae, size, stages != nullptr);
    Latent moments = encoder.run("encoding the layout picture", picture, cancel);
    if (stages) *stages = encoder.stages();
    moments.resize(moments.size() / 2); // the second half is the log variance
    return moments;
}

std::vector<float> decodeScaled(const Placed<Autoencoder> &vae, const Latent &latent, CellSize size,
                                const Cancellation &cancel, std::vector<StageValues> *stages) {
    Latent z = latent;
    multiply(z, 1 / vae.network.scalingFactor());
    HalfOfVae decoder = decoderOf(vae, size, stages != nullptr);
    std::vector<float> planes = decoder.run("decoding the picture", z, cancel);
    if (stages) *stages = decoder.stages();
    return planes;
}

TinyDecoderSession::TinyDecoderSession(const Placed<TinyDecoder> &decoder, CellSize size)
    : TinyDecoderSession(Unallocated{}, decoder, size) {
    graph_.allocate("the tiny decoder");
}

std::uint64_t TinyDecoderSession::measure(const Placed<TinyDecoder> &decoder, CellSize size) {
    return TinyDecoderSession(Unallocated{}, decoder, size).graph_.measure();
}

TinyDecoderSession::TinyDecoderSession(Unallocated, const Placed<TinyDecoder> &decoder,
                                       CellSize size)
    : decoder_(decoder), graph_(decoder.device) {
    const auto ops = makeOps(graph_, decoder.precision);
    input_ = graph_.input({size.width, size.height, kLatentChannels, 1});
    output_ = graph_.output(decoder.network.decode(*ops, input_));
}

std::vector<float> TinyDecoderSession::decode(const Latent &latent, const Cancellation &cancel) {
    graph_.set(input_, decoder_.network.clamped(latent));
    graph_.compute(cancel);
    std::vector<float> planes = graph_.get(output_);
    for (float &value : planes) value = 2 * value - 1;
    return planes;
}

std::uint64_t vaeMemory(const Placed<Autoencoder> &vae, PixelSize size) {
    return std::max(encoderOf(vae, size).measure(), decoderOf(vae, size.cells()).measure());
}

// ---------------------------------------------------------------------------------------------
// The UNet

/// A graph of the UNet, or of its outer blocks.
class UNetSession::Part : private UNetInputs {
public:
    /// The whole, which also gives the features that `use.outerBlocks` begin with.
    Part(const Placed<UNet> &unet, CellSize size, UNetUse use, bool keepStages)
        : Part(unet, size, use) {
        if (keepStages) graph_.keepStages();
        const auto ops = makeOps(graph_, unet.precision);
        const bool leavesFeatures = use.outerBlocks > 0;
        const UNet::Prediction all =
            unet.network.predict(*ops, latents_, *this, leavesFeatures ? use.outerBlocks : 1);
        noise_ = graph_.output(all.noise);
        if (leavesFeatures) features_ = graph_.output(all.features);
    }

    /// The outer blocks, which take the features that `whole` gives.
    Part(const Placed<UNet> &unet, CellSize size, UNetUse use, const Part &whole)
        : Part(unet, size, use) {
        const auto *ne = std::begin(whole.features_->ne);
        features_ = graph_.constant({ne, ne + GGML_MAX_DIMS});
        const auto ops = makeOps(graph_, unet.precision);
        noise_ = graph_.output(
            unet.network.predictOuter(*ops, latents_, *this, use.outerBlocks, features_));
    }

    Graph &graph() { return graph_; }
    std::size_t featureBytes() const { return ggml_nbytes(features_); }

    void setPrompts(const std::vector<const PromptContext *> &contexts) {
        for (const auto &[layer, tensors] : context_) {
            const auto join = [&, at = layer](std::vector<float> PromptContext::Layer::*part) {
                std::vector<float> all;
                for (const auto *context : contexts) {
                    const auto &values = context->layers[at].*part;
                    for (int i = 0; i < latentsOfEach_; i++) {
                        all.insert(all.end(), values.begin(), values.end());
                    }
                }
                return all;
            };
            graph_.set(tensors.keys, join(&PromptContext::Layer::keys));
            graph_.set(tensors.values, join(&PromptContext::Layer::values));
        }
    }

    /// `shifts`: of every ResBlock of the UNet.
    std::vector<float> run(const std::vector<float> &latents,
                           const std::vector<std::vector<float>> &shifts,
                           const Cancellation &cancel) {
        graph_.set(latents_, latents);
        for (const auto &[resBlock, tensor] : timeShifts_) graph_.set(tensor, shifts[resBlock]);
        graph_.compute(cancel);
        return graph_.get(noise_);
    }

    void leaveFeaturesTo(Part &outer) { ggml_backend_tensor_copy(features_, outer.features_); }

private:
    Part(const Placed<UNet> &unet, CellSize size, UNetUse use)
        : network_(unet.network), graph_(unet.device), latentsOfEach_(use.latents),
          batch_(use.prompts * use.latents),
          latents_(graph_.input({size.width, size.height, kLatentChannels, batch_})) {}

    Tensor timeShift(std::size_t resBlock) override {
        Tensor &tensor = timeShifts_[resBlock];
        const int columns = network_.addedWidth() > 0 ? batch_ : 1;
        if (!tensor) tensor = graph_.constant({network_.timeWidths()[resBlock], columns});
        return tensor;
    }
    KeysValues context(std::size_t attention) override {
        KeysValues &tensors = context_[attention];
        if (tensors.keys) return tensors;
        const std::vector<std::int64_t> shape{network_.crossWidths()[attention], kContextLength,
                                              batch_};
        tensors = {graph_.constant(shape), graph_.constant(shape)};
        return tensors;
    }

    const UNet &network_;
    Graph graph_;
    int latentsOfEach_, batch_; // latents of each prompt, and of all
    Tensor latents_ = nullptr, noise_ = nullptr, features_ = nullptr;
    std::map<std::size_t, Tensor> timeShifts_;  // by ResBlock
    std::map<std::size_t, KeysValues> context_; // by cross-attention
};

UNetSession::UNetSession(const Placed<UNet> &unet, CellSize size, UNetUse use, bool keepStages)
    : unet_(unet), use_(use), keepStages_(keepStages),
      whole_(std::make_unique<Part>(unet, size, use, keepStages)) {
    whole_->graph().allocate("the UNet");
    if (use.outerBlocks == 0) return;
    outer_ = std::make_unique<Part>(unet, size, use, *whole_);
    outer_->graph().allocate("the outer blocks of the UNet");
}

UNetSession::~UNetSession() = default;

std::uint64_t UNetSession::measure(const Placed<UNet> &unet, CellSize size, UNetUse use) {
    Part whole(unet, size, use, false);
    std::uint64_t bytes = whole.graph().measure();
    if (use.outerBlocks > 0) {
        bytes += Part(unet, size, use, whole).graph().measure() + whole.featureBytes();
    }
    return bytes;
}

void UNetSession::setPrompts(const std::vector<const PromptContext *> &contexts) {
    whole_->setPrompts(contexts);
    if (outer_) outer_->setPrompts(contexts);
    if (unet_.network.addedWidth() == 0) return;
    std::vector<float> added;
    for (const PromptContext *context : contexts) {
        const std::vector<float> one = addedVector(context->pooled, use_.picture);
        for (int i = 0; i < use_.latents; i++) added.insert(added.end(), one.begin(), one.end());
    }
    if (added == added_) return;
    added_ = std::move(added);
    shiftsAt_.clear();
}

/// For every timestep, and where there are added vectors for each of these.
void UNetSession::computeShifts(std::vector<double> timesteps, const Cancellation &cancel) {
    std::sort(timesteps.begin(), timesteps.end());
    timesteps.erase(std::unique(timesteps.begin(), timesteps.end()), timesteps.end());
    const int addedWidth = unet_.network.addedWidth();
    const int columnsOfEach = addedWidth > 0 ? use_.prompts * use_.latents : 1;
    std::vector<float> features, addedVectors;
    for (const double timestep : timesteps) {
        const std::vector<float> one = unet_.network.timestepFeatures(timestep);
        for (int i = 0; i < columnsOfEach; i++) {
            features.insert(features.end(), one.begin(), one.end());
        }
        addedVectors.insert(addedVectors.end(), added_.begin(), added_.end());
    }
    const auto count = static_cast<std::int64_t>(timesteps.size()) * columnsOfEach;
    Graph graph(unet_.device);
    if (keepStages_) graph.keepStages();
    const auto ops = makeOps(graph, unet_.precision);
    Tensor input = graph.input({static_cast<std::int64_t>(features.size()) / count, count});
    Tensor added = addedWidth > 0 ? graph.input({addedWidth, count}) : nullptr;
    const std::vector<Tensor> shifts = unet_.network.timeShifts(*ops, input, added);
    for (Tensor shift : shifts) graph.output(shift);
    graph.allocate("the timesteps");
    graph.set(input, features);
    if (added) graph.set(added, addedVectors);
    graph.compute(cancel);

    if (keepStages_) timeStages_ = readStages(graph);
    for (Tensor shift : shifts) {
        const std::vector<float> all = graph.get(shift);
        const auto width = static_cast<std::ptrdiff_t>(all.size() / timesteps.size());
        auto first = all.begin();
        for (const double timestep : timesteps) {
            shiftsAt_[timestep].emplace_back(first, first + width);
            first += width;
        }
    }
}

std::vector<Latent> UNetSession::predict(const Latent &latent, double timestep,
                                         const Cancellation &cancel) {
    std::vector<Latent> each = run(*whole_, latent, timestep, cancel);
    if (outer_) whole_->leaveFeaturesTo(*outer_);
    return each;
}

std::vector<Latent> UNetSession::predictOuter(const Latent &latent, double timestep,
                                              const Cancellation &cancel) {
    return run(*outer_, latent, timestep, cancel);
}

std::vector<Latent> UNetSession::run(Part &part, const Latent &latent, double timestep,
                                     const Cancellation &cancel) {
    std::vector<float> latents;
    for (int i = 0; i < use_.prompts; i++) {
        latents.insert(latents.end(), latent.begin(), latent.end());
    }
    if (shiftsAt_.find(timestep) == shiftsAt_.end()) {
        std::vector<double> all = timesteps_;
        all.push_back(timestep);
        computeShifts(std::move(all), cancel);
    }
    const std::vector<float> all = part.run(latents, shiftsAt_.at(timestep), cancel);
    std::vector<Latent> each;
    for (auto first = all.begin(); first != all.end();) {
        const auto last = first + static_cast<std::ptrdiff_t>(latent.size());
        each.emplace_back(first, last);
        first = last;
    }
    return each;
}

std::vector<StageValues> UNetSession::stages() const {
    std::vector<StageValues> all = timeStages_;
    for (auto &stage : readStages(whole_->graph())) all.push_back(std::move(stage));
    return all;
}

} // namespace magicmix
