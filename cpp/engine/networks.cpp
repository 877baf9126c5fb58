#include "engine/networks.h"

#include <algorithm>

namespace magicmix {
namespace {

const UNetUse kGuided{2, 0, {}};

bool needsCpu(const LoadOptions &options, const Device &device) {
    return (options.textEncoderOnCpu || options.vaeOnCpu) && !device.isCpu();
}

std::unique_ptr<Station> cpuStation(const LoadOptions &options, const WeightSource &source) {
    return std::make_unique<Station>(Device::open("cpu", options.threads, options.kernels), options,
                                     source);
}

std::vector<TextEncoder> textEncoders(Weights &weights, const Architecture &architecture) {
    std::vector<TextEncoder> all;
    for (const auto &text : architecture.texts) all.emplace_back(weights, text);
    return all;
}

} // namespace

Station::Station(Device opened, const LoadOptions &options, const WeightSource &source)
    : device(std::move(opened)),
      precision(parsePrecision(options.precision, device.hasBf16Kernels())),
      weights(precision, device.kernels(precision),
              options.precision == "auto" ? &source : nullptr) {}

Networks::Networks(const Architecture &deduced, const LoadOptions &options,
                   const WeightSource &source)
    : architecture(deduced),
      main_(Device::open(options.device, options.threads, options.kernels), options, source),
      cpu_(needsCpu(options, main_.device) ? cpuStation(options, source) : nullptr),
      textStation_(options.textEncoderOnCpu && cpu_ ? cpu_.get() : &main_),
      vaeStation_(options.vaeOnCpu && cpu_ ? cpu_.get() : &main_),
      texts_(textEncoders(textStation_->weights, architecture)),
      unet_(main_.weights, architecture.unet), vae_(vaeStation_->weights, architecture.vae) {
    if (deduced.tinyDecoder) tinyDecoder_.emplace(vaeStation_->weights, *deduced.tinyDecoder);
}

std::vector<Placed<TextEncoder>> Networks::texts() {
    std::vector<Placed<TextEncoder>> all;
    for (const TextEncoder &text : texts_) all.push_back(placed(*textStation_, text));
    return all;
}

std::vector<Station *> Networks::stations() {
    return cpu_ ? std::vector<Station *>{&main_, cpu_.get()} : std::vector<Station *>{&main_};
}

std::vector<Weights *> Networks::weights() {
    std::vector<Weights *> all;
    for (Station *station : stations()) all.push_back(&station->weights);
    return all;
}

std::uint64_t Networks::parameters(const std::string &prefix) const {
    return main_.weights.parameters(prefix) + (cpu_ ? cpu_->weights.parameters(prefix) : 0);
}

std::uint64_t Networks::bytes() const {
    return main_.weights.bytes() + (cpu_ ? cpu_->weights.bytes() : 0);
}

std::set<std::string> Networks::names() const {
    std::set<std::string> names = main_.weights.names();
    if (cpu_) names.merge(cpu_->weights.names());
    return names;
}

void Networks::check(const WeightSource &source) const {
    main_.weights.check(source);
    if (cpu_) cpu_->weights.check(source);
}

void Networks::load(const WeightSource &source, const Cancellation &cancel,
                    const ProgressCallback &progress) {
    Progress event;
    event.stage = Stage::Load;
    for (const Weights *each : weights()) event.steps += each->count();
    int before = 0;
    for (Station *station : stations()) {
        station->weights.load(source, station->device, cancel, [&](int done) {
            event.step = before + done;
            progress(event);
        });
        before += station->weights.count();
    }
}

// ---------------------------------------------------------------------------------------------
// Memory

std::uint64_t Networks::nativeWorkingBytes() { return measureBeforeLoading().main; }

void Networks::requireMemoryToLoad() {
    const WorkingMemory working = measureBeforeLoading();
    const auto require = [](const Station &station, std::uint64_t workingBytes) {
        const std::uint64_t weights = station.weights.bytes();
        station.device.requireMemory(weights + workingBytes,
                                     "the model (" + std::to_string(weights >> 20) +
                                         " MiB of weights, and a mix of its native size)");
    };
    require(main_, working.main);
    if (cpu_) require(*cpu_, working.cpu);
}

void Networks::requireMemoryToMix(PixelSize size, const std::vector<UNetUse> &sessions,
                                  bool withTinyDecoder) {
    const int side = architecture.nativeSize();
    const bool isPlain = sessions.size() == 1 && sessions.front().outerBlocks == 0 &&
                         sessions.front().prompts <= kGuided.prompts;
    if (isPlain && size.width * size.height <= side * side) return;
    const WorkingMemory working = measure(size, sessions, withTinyDecoder);
    const std::string purpose =
        "a mix of " + std::to_string(size.width) + "x" + std::to_string(size.height);
    main_.device.requireMemory(working.main, purpose);
    if (cpu_) cpu_->device.requireMemory(working.cpu, purpose);
}

Networks::WorkingMemory Networks::measure(PixelSize size, const std::vector<UNetUse> &sessions,
                                          bool withTinyDecoder) {
    WorkingMemory memory;
    for (const UNetUse &use : sessions) {
        memory.main += UNetSession::measure(unet(), size.cells(), use);
    }
    std::uint64_t &ofVae = vaeStation_ == &main_ ? memory.main : memory.cpu;
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
