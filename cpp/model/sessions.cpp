#include "model/sessions.h"

#include "base/tokens.h"

#include <algorithm>
#include <cstring>

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

/// Builds, allocates and runs a graph of one input and one output.
template <typename Network>
std::vector<float> runOnce(Device &device, Precision precision, const std::string &name,
                           const std::vector<std::int64_t> &shape, const std::vector<float> &values,
                           const Cancellation &cancel, std::vector<StageValues> *stages,
                           const Network &network) {
    Graph graph(device);
    if (stages) graph.keepStages();
    const auto ops = makeOps(graph, precision);
    Tensor input = graph.input(shape);
    Tensor output = graph.output(network(*ops, input));
    graph.allocate(name);
    graph.set(input, values);
    graph.compute(cancel);
    if (stages) *stages = readStages(graph);
    return graph.get(output);
}

} // namespace

std::vector<float> runTextEncoder(Device &device, Precision precision, const TextEncoder &encoder,
                                  const std::vector<std::int32_t> &ids,
                                  const Cancellation &cancel) {
    Graph graph(device);
    const auto ops = makeOps(graph, precision);
    Tensor idInput = graph.input({kContextLength}, GGML_TYPE_I32);
    Tensor positionInput = graph.input({kContextLength}, GGML_TYPE_I32);
    Tensor states = graph.output(encoder.encode(*ops, idInput, positionInput));
    graph.allocate("the text encoder");

    std::vector<std::int32_t> positions(kContextLength);
    for (int i = 0; i < kContextLength; i++) positions[static_cast<std::size_t>(i)] = i;
    graph.set(idInput, ids);
    graph.set(positionInput, positions);
    graph.compute(cancel);
    return graph.get(states);
}

PromptContext runContext(Device &device, Precision precision, const UNet &unet,
                         const std::vector<float> &textStates, const Cancellation &cancel) {
    Graph graph(device);
    const auto ops = makeOps(graph, precision);
    const auto width = static_cast<std::int64_t>(textStates.size()) / kContextLength;
    Tensor states = graph.input({width, kContextLength, 1});
    const std::vector<KeysValues> layers = unet.context(*ops, states);
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

std::vector<float> runEncoder(Device &device, Precision precision, const Autoencoder &vae,
                              const std::vector<float> &picture, int width, int height,
                              const Cancellation &cancel, std::vector<StageValues> *stages) {
    return runOnce(device, precision, "encoding the layout picture", {width, height, 3, 1}, picture,
                   cancel, stages, [&](Ops &ops, Tensor x) { return vae.encode(ops, x); });
}

std::vector<float> runDecoder(Device &device, Precision precision, const Autoencoder &vae,
                              const std::vector<float> &latent, int width, int height,
                              const Cancellation &cancel, std::vector<StageValues> *stages) {
    return runOnce(device, precision, "decoding the picture", {width, height, kLatentChannels, 1},
                   latent, cancel, stages, [&](Ops &ops, Tensor x) { return vae.decode(ops, x); });
}

std::uint64_t unetMemory(Device &device, Precision precision, const UNet &unet, int width,
                         int height) {
    return UNetSession::measure(device, precision, unet, width / kPixelsPerCell,
                                height / kPixelsPerCell, 2);
}

std::uint64_t vaeMemory(Device &device, Precision precision, const Autoencoder &vae, int width,
                        int height) {
    const auto measure = [&](const std::vector<std::int64_t> &shape, const auto &network) {
        Graph graph(device);
        const auto ops = makeOps(graph, precision);
        graph.output(network(*ops, graph.input(shape)));
        return graph.measure();
    };
    return std::max(
        measure({width, height, 3, 1}, [&](Ops &ops, Tensor x) { return vae.encode(ops, x); }),
        measure({width / kPixelsPerCell, height / kPixelsPerCell, kLatentChannels, 1},
                [&](Ops &ops, Tensor x) { return vae.decode(ops, x); }));
}

UNetSession::UNetSession(Device &device, Precision precision, const UNet &unet, int width,
                         int height, int prompts, bool keepStages)
    : UNetSession(Unallocated{}, device, precision, unet, width, height, prompts, keepStages) {
    graph_.allocate("the UNet");
}

std::uint64_t UNetSession::measure(Device &device, Precision precision, const UNet &unet, int width,
                                   int height, int prompts) {
    return UNetSession(Unallocated{}, device, precision, unet, width, height, prompts, false)
        .graph_.measure();
}

UNetSession::UNetSession(Unallocated, Device &device, Precision precision, const UNet &unet,
                         int width, int height, int prompts, bool keepStages)
    : device_(device), precision_(precision), unet_(unet), graph_(device), prompts_(prompts),
      keepStages_(keepStages) {
    if (keepStages) graph_.keepStages();
    const auto ops = makeOps(graph_, precision);
    latents_ = graph_.input({width, height, kLatentChannels, prompts});
    for (const int channels : unet.timeWidths()) {
        timeShifts_.push_back(graph_.constant({channels, 1}));
    }
    for (const int channels : unet.crossWidths()) {
        const std::vector<std::int64_t> shape{channels, kContextLength, prompts};
        context_.push_back({graph_.constant(shape), graph_.constant(shape)});
    }
    epsilon_ = graph_.output(unet.predict(*ops, latents_, timeShifts_, context_));
}

void UNetSession::setPrompts(const std::vector<const PromptContext *> &contexts) {
    const auto join = [&](std::size_t layer, std::vector<float> PromptContext::Layer::*part) {
        std::vector<float> all;
        for (const auto *context : contexts) {
            const auto &values = context->layers[layer].*part;
            all.insert(all.end(), values.begin(), values.end());
        }
        return all;
    };
    for (std::size_t layer = 0; layer < context_.size(); layer++) {
        graph_.set(context_[layer].keys, join(layer, &PromptContext::Layer::keys));
        graph_.set(context_[layer].values, join(layer, &PromptContext::Layer::values));
    }
}

void UNetSession::prepare(const std::vector<int> &timesteps, const Cancellation &cancel) {
    if (timesteps.empty()) return;
    std::vector<float> features;
    for (const int timestep : timesteps) {
        const std::vector<float> one = unet_.timestepFeatures(timestep);
        features.insert(features.end(), one.begin(), one.end());
    }
    const auto count = static_cast<std::int64_t>(timesteps.size());
    Graph graph(device_);
    if (keepStages_) graph.keepStages();
    const auto ops = makeOps(graph, precision_);
    Tensor input = graph.input({static_cast<std::int64_t>(features.size()) / count, count});
    const std::vector<Tensor> shifts = unet_.timeShifts(*ops, input);
    for (Tensor shift : shifts) graph.output(shift);
    graph.allocate("the timesteps");
    graph.set(input, features);
    graph.compute(cancel);

    if (keepStages_) timeStages_ = readStages(graph);
    for (Tensor shift : shifts) {
        const std::vector<float> all = graph.get(shift);
        const auto width = static_cast<std::ptrdiff_t>(all.size()) / count;
        auto first = all.begin();
        for (const int timestep : timesteps) {
            shiftsAt_[timestep].emplace_back(first, first + width);
            first += width;
        }
    }
}

std::vector<std::vector<float>> UNetSession::predict(const std::vector<float> &latent, int timestep,
                                                     const Cancellation &cancel) {
    std::vector<float> latents;
    for (int i = 0; i < prompts_; i++) latents.insert(latents.end(), latent.begin(), latent.end());
    graph_.set(latents_, latents);
    if (shiftsAt_.find(timestep) == shiftsAt_.end()) prepare({timestep}, cancel);
    const auto &shifts = shiftsAt_.at(timestep);
    for (std::size_t i = 0; i < shifts.size(); i++) graph_.set(timeShifts_[i], shifts[i]);
    graph_.compute(cancel);

    const std::vector<float> all = graph_.get(epsilon_);
    std::vector<std::vector<float>> each;
    for (auto first = all.begin(); first != all.end();) {
        const auto last = first + static_cast<std::ptrdiff_t>(latent.size());
        each.emplace_back(first, last);
        first = last;
    }
    return each;
}

std::vector<StageValues> UNetSession::stages() const {
    std::vector<StageValues> all = timeStages_;
    for (auto &stage : readStages(graph_)) all.push_back(std::move(stage));
    return all;
}

} // namespace magicmix
