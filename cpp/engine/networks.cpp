#include "engine/networks.h"

#include <algorithm>

namespace magicmix {
namespace {

const UNetUse kGuided{2, 0, {}, 1};

bool needsCpu(const LoadOptions &options, const Device &device) {
    return (options.textEncoderOnCpu || options.vaeOnCpu) && !device.isCpu();
}

std::optional<Device> cpuBeside(const LoadOptions &options, const Device &main) {
    if (!needsCpu(options, main)) return std::nullopt;
    return Device::open("cpu", options.threads, options.kernels);
}

Station station(Device &device, Precision precision, const LoadOptions &options,
                const WeightSource &source) {
    return {device, precision,
            Weights(precision, device.kernels(precision),
                    options.precision == "auto" ? &source : nullptr)};
}

Precision precisionOn(const Device &device, const LoadOptions &options) {
    return parsePrecision(options.precision, device.hasBf16Kernels());
}

/// What is multiplied by weights in q8_0 is f32, which for the autoencoder are gigabytes, while its
/// weights are few.
Precision precisionOfVae(const Device &device, const LoadOptions &options) {
    const Precision precision = precisionOn(device, options);
    return precision == Precision::Q8 && device.hasBf16Kernels() ? Precision::BF16 : precision;
}

std::vector<TextEncoder> textEncoders(Weights &weights, const Architecture &architecture) {
    std::vector<TextEncoder> all;
    for (const auto &text : architecture.texts) all.emplace_back(weights, text);
    return all;
}

} // namespace

Networks::Networks(const Architecture &deduced, const LoadOptions &options,
                   const WeightSource &source)
    : architecture(deduced), main_(Device::open(options.device, options.threads, options.kernels)),
      cpu_(cpuBeside(options, main_)), keepsTexts_(!options.releaseTextEncoders),
      textStation_(station(deviceFor(options.textEncoderOnCpu),
                           precisionOn(deviceFor(options.textEncoderOnCpu), options), options,
                           source)),
      unetStation_(station(main_, precisionOn(main_, options), options, source)),
      vaeStation_(station(deviceFor(options.vaeOnCpu),
                          precisionOfVae(deviceFor(options.vaeOnCpu), options), options, source)),
      texts_(textEncoders(textStation_.weights, architecture)),
      unet_(unetStation_.weights, architecture.unet), vae_(vaeStation_.weights, architecture.vae) {
    if (deduced.tinyDecoder) tinyDecoder_.emplace(vaeStation_.weights, *deduced.tinyDecoder);
}

std::vector<Placed<TextEncoder>> Networks::texts() {
    std::vector<Placed<TextEncoder>> all;
    for (const TextEncoder &text : texts_) all.push_back(placed(textStation_, text));
    return all;
}

std::array<Station *, 3> Networks::stations() {
    return {&textStation_, &unetStation_, &vaeStation_};
}

std::array<const Station *, 3> Networks::stations() const {
    return {&textStation_, &unetStation_, &vaeStation_};
}

std::vector<Weights *> Networks::weights() {
    std::vector<Weights *> all;
    for (Station *station : stations()) all.push_back(&station->weights);
    return all;
}

std::uint64_t Networks::parameters(const std::string &prefix) const {
    std::uint64_t count = 0;
    for (const Station *station : stations()) count += station->weights.parameters(prefix);
    return count;
}

std::uint64_t Networks::bytes() const {
    std::uint64_t bytes = 0;
    for (const Station *station : stations()) bytes += station->weights.bytes();
    return bytes;
}

std::set<std::string> Networks::names() const {
    std::set<std::string> names;
    for (const Station *station : stations()) names.merge(station->weights.names());
    return names;
}

void Networks::check(const WeightSource &source) const {
    for (const Station *station : stations()) station->weights.check(source);
}

void Networks::load(const WeightSource &source, const Cancellation &cancel,
                    const ProgressCallback &progress) {
    std::vector<Station *> wanted;
    for (Station *station : stations()) {
        if (keepsTexts_ || station != &textStation_) wanted.push_back(station);
    }
    Progress event;
    event.stage = Stage::Load;
    for (const Station *station : wanted) event.steps += station->weights.count();
    int before = 0;
    for (Station *station : wanted) {
        station->weights.load(source, station->device, cancel, [&](int done) {
            event.step = before + done;
            progress(event);
        });
        before += station->weights.count();
    }
}

void Networks::loadTexts(const WeightSource &source, const Cancellation &cancel) {
    textStation_.device.requireMemory(textBytes(), "the text encoder");
    textStation_.weights.load(source, textStation_.device, cancel, [](int) {});
}

// ---------------------------------------------------------------------------------------------
// Memory

std::uint64_t Networks::nativeWorkingBytes() { return measureBeforeLoading().main; }

void Networks::requireMemoryToLoad() {
    const WorkingMemory working = measureBeforeLoading();
    const auto require = [&](const Device &device, std::uint64_t workingBytes) {
        std::uint64_t weights = 0;
        for (const Station *station : stations()) {
            if (&station->device == &device) weights += station->weights.bytes();
        }
        // Text encoders that are not kept take turns with what a mix computes.
        const bool takesTurns = !keepsTexts_ && &textStation_.device == &device;
        const std::uint64_t extra =
            takesTurns ? std::max(textBytes(), workingBytes) - textBytes() : workingBytes;
        device.requireMemory(weights + extra, "the model (" + std::to_string(weights >> 20) +
                                                  " MiB of weights, and a mix of its native size)");
    };
    require(main_, working.main);
    if (cpu_) require(*cpu_, working.cpu);
}

void Networks::requireMemoryToMix(PixelSize size, const std::vector<UNetUse> &sessions,
                                  bool withTinyDecoder) {
    const int side = architecture.nativeSize();
    const bool isPlain = sessions.size() == 1 && sessions.front().outerBlocks == 0 &&
                         sessions.front().prompts * sessions.front().latents <= kGuided.prompts;
    if (isPlain && size.width * size.height <= side * side) return;
    const WorkingMemory working = measure(size, sessions, withTinyDecoder);
    const std::string purpose =
        "a mix of " + std::to_string(size.width) + "x" + std::to_string(size.height);
    main_.requireMemory(working.main, purpose);
    if (cpu_) cpu_->requireMemory(working.cpu, purpose);
}

Networks::WorkingMemory Networks::measure(PixelSize size, const std::vector<UNetUse> &sessions,
                                          bool withTinyDecoder) {
    WorkingMemory memory;
    for (const UNetUse &use : sessions) {
        memory.main += UNetSession::measure(unet(), size.cells(), use);
    }
    std::uint64_t &ofVae = &vaeStation_.device == &main_ ? memory.main : memory.cpu;
    // Previews are made while the UNet has its memory.
    if (withTinyDecoder) ofVae += TinyDecoderSession::measure(tinyDecoder(), size.cells());
    ofVae = std::max(ofVae, vaeMemory(vae(), size));
    return memory;
}

Networks::WorkingMemory Networks::measureBeforeLoading() {
    for (Weights *each : weights()) each->beginMeasuring();
    const int side = architecture.nativeSize();
    const WorkingMemory memory = measure({side, side}, {kGuided}, hasTinyDecoder());
    for (Weights *each : weights()) each->endMeasuring();
    return memory;
}

} // namespace magicmix
