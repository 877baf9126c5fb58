#include "engine/inspect.h"

#include "base/error.h"
#include "base/tokens.h"
#include "checkpoint/checkpoint.h"
#include "engine/networks.h"
#include "model/names.h"

namespace magicmix {

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
        networks.check(checkpoint);
        inspection.model = describe(checkpoint, networks);
        inspection.family = inspection.model->family;
        inspection.workingBytes = networks.nativeWorkingBytes();
    } catch (const Error &error) {
        inspection.problem = error.what();
    }
    return inspection;
}

ModelInfo describe(const Checkpoint &checkpoint, const Networks &networks) {
    const ModelConfig &config = networks.config;
    const auto &prediction = config.unet.prediction;
    ModelInfo info;
    info.path = checkpoint.path();
    info.format = checkpoint.format();
    info.family = config.family;
    info.prediction = prediction ? predictionName(*prediction) : "unknown";
    info.device = networks.device().id();
    info.placement = {networks.textDevice().id(), networks.device().id(),
                      networks.vaeDevice().id()};
    info.precision = precisionName(networks.precision());
    info.threads = networks.device().threads();
    info.nativeSize = networks.nativeSize();
    info.memory.weights = networks.bytes();

    auto &parameters = info.parameters;
    parameters.textEncoder = networks.parameters(kTextPrefix);
    parameters.unet = networks.parameters(kUnetPrefix);
    parameters.vae = networks.parameters(kVaePrefix);
    parameters.total = parameters.textEncoder + parameters.unet + parameters.vae;

    info.sizes.textEncoder = {config.text.width, config.text.layers, config.text.heads,
                              config.text.vocabulary, config.family == "sd2" ? 0 : kEndOfText};
    info.sizes.unet = {config.unet.channels, config.unet.heads, config.unet.layers,
                       config.unet.contextWidth, config.unet.normGroups};
    info.sizes.vae = {config.vae.channels, config.vae.normGroups, config.vae.scalingFactor};
    return info;
}

} // namespace magicmix
