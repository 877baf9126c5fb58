#include "engine/inspect.h"

#include "base/error.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/weights_hash.h"
#include "engine/networks.h"
#include "model/names.h"

namespace magicmix {

Inspection inspect(const ModelFiles &files, const ModelConfig &config, const Cancellation &cancel) {
    return inspect(Checkpoint::open(files, cancel), config);
}

Inspection inspect(const Checkpoint &checkpoint, const ModelConfig &config) {
    Inspection inspection;
    inspection.path = checkpoint.path();
    inspection.format = checkpoint.format();
    inspection.fileBytes = checkpoint.fileBytes();
    inspection.ignored = checkpoint.unknown();
    for (const auto &[name, tensor] : checkpoint.tensors()) {
        inspection.tensors.push_back(
            {name, tensor.type, tensor.shape, tensor.bytes, tensor.file->path()});
    }
    try {
        checkpoint.requireAllNetworks();
        Networks networks(deduceArchitecture(checkpoint, checkpoint.config().overriddenBy(config)),
                          LoadOptions{}, checkpoint);
        networks.check(checkpoint);
        checkpoint.requireNothingLeft(networks.names(), networks.architecture);
        inspection.model = describe(checkpoint, networks);
        inspection.family = inspection.model->family;
        inspection.workingBytes = networks.nativeWorkingBytes();
    } catch (const Error &error) {
        inspection.problem = error.what();
    }
    return inspection;
}

ModelInfo describe(const Checkpoint &checkpoint, const Networks &networks) {
    const auto &[family, texts, unet, vae, tiny, schedule, sampleSize, zeros] =
        networks.architecture;
    ModelInfo info;
    info.path = checkpoint.path();
    info.format = checkpoint.format();
    info.family = family->name;
    info.prediction = schedule.prediction ? predictionName(*schedule.prediction) : "unknown";
    info.device = networks.device().id();
    info.placement = {networks.textDevice().id(), networks.device().id(),
                      networks.vaeDevice().id()};
    info.precision = precisionName(networks.precision());
    const auto *kernels = networks.device().kernels(networks.precision());
    info.kernels = kernels ? kernels->name : "ggml";
    const auto &tensors = checkpoint.tensors();
    std::vector<std::string> ofTexts;
    for (const auto &text : family->texts) ofTexts.emplace_back(text.prefix);
    info.hashes = {weightsHash(tensors, ofTexts), weightsHash(tensors, {kUnetPrefix}),
                   weightsHash(tensors, {kVaePrefix})};
    info.threads = networks.device().threads();
    info.nativeSize = networks.architecture.nativeSize();
    info.memory = {networks.bytes(), networks.textBytes()};

    auto &parameters = info.parameters;
    for (const auto &text : family->texts) {
        parameters.textEncoder += networks.parameters(text.prefix);
    }
    parameters.unet = networks.parameters(kUnetPrefix);
    parameters.vae = networks.parameters(kVaePrefix);
    parameters.total = parameters.textEncoder + parameters.unet + parameters.vae;

    for (const auto &text : texts) {
        info.sizes.textEncoders.push_back(
            {text.width, text.heads, text.statesAfter, text.vocabulary, text.padding});
    }
    info.sizes.unet = {unet.channels, unet.heads, unet.layers, unet.contextWidth, unet.normGroups};
    info.sizes.vae = {vae.channels, vae.normGroups, vae.scalingFactor};
    if (tiny) {
        info.tinyDecoder.emplace();
        info.tinyDecoder->path = checkpoint.tinyDecoderPath();
        info.tinyDecoder->hash = weightsHash(tensors, {kTinyDecoderPrefix});
        info.tinyDecoder->parameters = networks.parameters(kTinyDecoderPrefix);
        for (auto level = tiny->levels.rbegin(); level != tiny->levels.rend(); ++level) {
            info.tinyDecoder->channels.push_back(level->channels);
        }
    }
    return info;
}

} // namespace magicmix
