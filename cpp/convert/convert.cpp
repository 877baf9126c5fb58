// From any checkpoint that is read to one file in the original naming. Nothing is held but one
// tensor, and the pieces of it that are being converted.

#include "convert/convert.h"

#include "base/clock.h"
#include "base/text.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/configuration.h"
#include "checkpoint/openclip.h"
#include "convert/heads.h"
#include "convert/output_file.h"
#include "convert/rounding.h"
#include "convert/rules.h"
#include "model/autoencoder.h"
#include "model/names.h"
#include "model/text_encoder.h"
#include "model/unet.h"
#include "tensor/conversion.h"
#include "tensor/machine.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <future>
#include <map>
#include <utility>

namespace magicmix {
namespace {

namespace fs = std::filesystem;

// A multiple of every block, and small enough for any memory.
constexpr std::size_t kPieceValues = std::size_t{1} << 20;

void checkOutput(const ConvertOptions &options) {
    const std::string &path = options.output;
    if (!endsWith(path, ".gguf") && !endsWith(path, ".safetensors")) {
        throw Error("INVALID_ARGUMENT",
                    "the output '" + path +
                        "' must end in .gguf or .safetensors, which names its "
                        "format",
                    {{"output", path}});
    }
    if (options.compatible && !endsWith(path, ".gguf")) {
        throw Error("INVALID_ARGUMENT",
                    "`compatible` is for .gguf files, but the output is '" + path +
                        "'; leave it out: every .safetensors file has the common layout",
                    {{"output", path}});
    }
    std::error_code ignored;
    if (!options.overwrite && fs::exists(fs::u8path(path), ignored)) {
        throw Error("INVALID_ARGUMENT",
                    "'" + path + "' exists; it is replaced only with `overwrite`",
                    {{"output", path}});
    }
}

/// Of a file with one network or two, which can be completed when it is loaded.
std::set<std::string> allTensors(const Checkpoint &checkpoint) {
    std::set<std::string> names;
    for (const auto &[name, tensor] : checkpoint.tensors()) names.insert(name);
    return names;
}

/// Whether a text encoder has that tensor: also one that is not used, but for layers that the
/// configuration leaves out.
bool isOfText(const Architecture &architecture, const std::string &name) {
    for (const TextEncoderConfig &text : architecture.texts) {
        const auto inside = after(name, text.prefix);
        const auto layer = inside ? after(*inside, "encoder.layers.") : std::nullopt;
        if (inside) return !layer || std::atoi(layer->c_str()) < text.layers;
    }
    return false;
}

/// The tensors that the networks would use, and the rest of their text encoders, by whose length
/// the layer is found from which states are taken. Everything that loading would refuse for want of
/// a place, this does, too.
std::set<std::string> usedTensors(const Checkpoint &checkpoint, ModelConfig config) {
    if (!checkpoint.isWhole()) return allTensors(checkpoint);
    // Heads have no tensors of their own.
    if (config.unet.heads.empty() && !config.unet.headWidth) config.unet.heads = {1};
    for (auto *text : {&config.textEncoder, &config.textEncoder2}) {
        if (!text->heads) text->heads = 1;
    }
    const Architecture architecture = deduceArchitecture(checkpoint, config);
    Weights weights(Precision::F32, nullptr);
    std::vector<TextEncoder> texts;
    for (const auto &text : architecture.texts) texts.emplace_back(weights, text);
    const UNet unet(weights, architecture.unet);
    const Autoencoder vae(weights, architecture.vae);
    weights.check(checkpoint);
    checkpoint.requireNothingLeft(weights.names(), architecture);
    std::set<std::string> names = weights.names();
    for (const auto &[name, tensor] : checkpoint.tensors()) {
        if (isOfText(architecture, name)) names.insert(name);
    }
    return names;
}

PlannedTensor planned(const Checkpoint &checkpoint, const std::string &name, ggml_type wanted,
                      Layout layout) {
    const auto values = checkpoint.describe(name);
    PlannedTensor tensor;
    tensor.name = name;
    tensor.sources = {name};
    tensor.shape = values.shape;
    // In the attention of an autoencoder original files have convolutions, folders matrices.
    const bool isOfVae = startsWith(name, kVaePrefix) && contains(name, ".attn_1.");
    if (isOfVae && tensor.shape.size() == 2) tensor.shape.insert(tensor.shape.end(), {1, 1});
    tensor.type = typeToStore(name, tensor.shape, values.type, wanted, layout);
    const BlockSize block = blockSize(tensor.type);
    tensor.bytes = elementCount(values.shape, "tensor '" + name + "'") /
                   static_cast<std::uint64_t>(block.values) * block.bytes;
    return tensor;
}

/// Puts `other` behind `tensor`, if both are rows of the same kind.
bool append(PlannedTensor &tensor, const PlannedTensor &other) {
    std::vector<std::int64_t> shape = tensor.shape;
    if (shape.empty() || other.shape.size() != shape.size()) return false;
    shape[0] = other.shape[0];
    if (shape != other.shape || tensor.type != other.type) return false;
    tensor.shape[0] += other.shape[0];
    tensor.bytes += other.bytes;
    tensor.sources.push_back(other.name);
    return true;
}

/// Gives the second text encoder of XL the names of original files, which other programs know it
/// by: OpenCLIP's, with queries, keys and values in one. `all` are in the order of their names.
std::vector<PlannedTensor> withOpenClipNames(const std::vector<PlannedTensor> &all) {
    std::map<std::string, std::map<int, PlannedTensor>> parts; // of one tensor each
    std::map<std::string, PlannedTensor> named;
    for (const PlannedTensor &tensor : all) {
        const auto original = openClipName(tensor.name);
        if (!original) {
            named[tensor.name] = tensor;
        } else if (original->parts > 1) {
            parts[original->name][original->part] = tensor;
        } else {
            PlannedTensor one = tensor;
            one.name = original->name;
            if (original->turned && one.shape.size() == 2) {
                std::swap(one.shape[0], one.shape[1]);
                one.turned = true;
            }
            named[one.name] = std::move(one);
        }
    }
    for (const auto &[name, some] : parts) {
        PlannedTensor fused = some.begin()->second;
        const bool whole =
            some.size() == 3 && append(fused, some.at(1)) && append(fused, some.at(2));
        fused.name = name;
        if (whole) named[name] = std::move(fused);
        for (const auto &[part, tensor] : some) {
            if (!whole) named[tensor.name] = tensor;
        }
    }
    std::vector<PlannedTensor> tensors;
    for (auto &[name, tensor] : named) tensors.push_back(std::move(tensor));
    return tensors;
}

std::vector<PlannedTensor> plan(const Checkpoint &checkpoint, const std::set<std::string> &names,
                                ggml_type wanted, Layout layout) {
    std::vector<PlannedTensor> tensors;
    for (const auto &name : names) tensors.push_back(planned(checkpoint, name, wanted, layout));
    return withOpenClipNames(tensors);
}

WeightSource::Values turned(const WeightSource::Values &values) {
    const auto rows = static_cast<std::size_t>(values.shape[0]),
               columns = static_cast<std::size_t>(values.shape[1]);
    std::vector<float> floats(rows * columns), result(rows * columns);
    toFloats(values.type, values.data.get(), 0, floats.size(), floats.data());
    for (std::size_t row = 0; row < rows; row++) {
        for (std::size_t i = 0; i < columns; i++)
            result[i * rows + row] = floats[row * columns + i];
    }
    return WeightSource::Values::owning({values.shape[1], values.shape[0]}, std::move(result));
}

/// Converts `count` values from `first` on.
std::vector<std::byte> convertPiece(const WeightSource::Values &values, std::size_t first,
                                    std::size_t count, const PlannedTensor &tensor) {
    const BlockSize block = blockSize(tensor.type);
    std::vector<std::byte> bytes(count / static_cast<std::size_t>(block.values) * block.bytes);
    if (values.type == tensor.type) {
        std::copy_n(values.data.get() +
                        first / static_cast<std::size_t>(block.values) * block.bytes,
                    bytes.size(), bytes.data());
        return bytes;
    }
    std::vector<float> floats(count);
    toFloats(values.type, values.data.get(), first, count, floats.data());
    const auto tooLarge = roundTo(tensor.type, floats.data(), count, bytes.data());
    if (!tooLarge) return bytes;
    throw Error("MODEL_FORMAT",
                "tensor '" + tensor.name + "' has the value " + std::to_string(*tooLarge) +
                    ", which " + storedTypeName(tensor.type) + " cannot hold; choose " +
                    (tensor.type == GGML_TYPE_BF16 ? "f32" : "bf16 or f32") + " if it is a number",
                {{"tensor", tensor.name}});
}

/// Pieces are converted side by side, and written in their order.
void writeTensor(const WeightSource::Values &values, const PlannedTensor &tensor, OutputFile &file,
                 const Cancellation &cancel) {
    const auto threads = static_cast<std::size_t>(machineShare().cores);
    const std::size_t all = elementCount(values.shape, tensor.name);
    for (std::size_t first = 0; first < all;) {
        cancel.throwIfRequested();
        std::vector<std::future<std::vector<std::byte>>> pieces;
        for (std::size_t i = 0; i < threads && first < all; i++) {
            const std::size_t count = std::min(kPieceValues, all - first);
            pieces.push_back(std::async(std::launch::async, convertPiece, std::cref(values), first,
                                        count, std::cref(tensor)));
            first += count;
        }
        for (auto &piece : pieces) {
            const auto bytes = piece.get();
            file.write(bytes.data(), bytes.size());
        }
    }
}

} // namespace

Conversion convert(const ConvertOptions &options, const Cancellation &cancel,
                   const ProgressCallback &progress) {
    const ggml_type wanted = parseStoredType(options.type);
    checkOutput(options);
    const Checkpoint checkpoint = Checkpoint::open(options.input, cancel);
    // The declarations of the input, overridden by the caller's.
    const ModelConfig config = checkpoint.config().overriddenBy(options.config);

    Conversion conversion;
    conversion.path = options.output;
    std::vector<PlannedTensor> tensors =
        plan(checkpoint, usedTensors(checkpoint, config), wanted,
             options.compatible ? Layout::Common : Layout::Compact);
    if (tensors.empty()) {
        throw Error("MODEL_FORMAT", "'" + options.input.model + "' has no tensor that mixing needs",
                    {{"path", options.input.model}});
    }
    const auto makeHead = endsWith(options.output, ".gguf") ? ggufHead : safetensorsHead;
    const auto head = makeHead(tensors, configurationOf(config).dump());
    conversion.bytes = tensors.back().offset + tensors.back().bytes;

    OutputFile file(options.output, conversion.bytes);
    file.write(head.data(), head.size());
    const auto start = Clock::now();
    Progress event;
    event.stage = Stage::Convert;
    event.steps = static_cast<int>(tensors.size());
    for (const auto &tensor : tensors) {
        const std::vector<std::byte> padding(tensor.offset - file.position());
        file.write(padding.data(), padding.size());
        for (const auto &source : tensor.sources) {
            const WeightSource::Values values = checkpoint.read(source);
            writeTensor(tensor.turned ? turned(values) : values, tensor, file, cancel);
        }
        conversion.tensorsOfType[storedTypeName(tensor.type)]++;
        event.step++;
        const double share =
            static_cast<double>(file.position()) / static_cast<double>(conversion.bytes);
        event.etaMs = millisecondsSince(start) * (1 - share) / share;
        progress(event);
    }
    file.commit();
    return conversion;
}

} // namespace magicmix
