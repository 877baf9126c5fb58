#include "tensor/weights.h"

#include "base/numbers.h"
#include "base/text.h"
#include "tensor/alignment.h"
#include "tensor/conversion.h"
#include "tensor/large_pages.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <map>

namespace magicmix {
namespace {

// Stable Diffusion 1.5 has 1131 tensors.
constexpr std::size_t kMaxTensors = 8192;
// Values are converted in pieces, so that a large tensor is never held twice.
constexpr std::size_t kPiece = 1 << 18;

kernels::BlockFormat formatOf(ggml_type type) {
    const BlockSize block = blockSize(type);
    return {static_cast<int>(block.values), static_cast<int>(block.bytes),
            ggml_get_type_traits(type)->to_float};
}

std::vector<std::int64_t> withoutTrailingOnes(std::vector<std::int64_t> shape) {
    while (shape.size() > 1 && shape.back() == 1) shape.pop_back();
    return shape;
}

/// A damaged factor would spoil a whole block, and every picture.
void requireFiniteBlocks(const WeightSource::Values &values, const std::string &name) {
    const BlockSize block = blockSize(values.type);
    const std::size_t all = values.bytes / block.bytes;
    const std::size_t some = kPiece / static_cast<std::size_t>(block.values);
    std::vector<float> floats;
    for (std::size_t first = 0; first < all; first += some) {
        floats.resize(std::min(some, all - first) * static_cast<std::size_t>(block.values));
        toFloats(values.type, values.data.get() + first * block.bytes, 0, floats.size(),
                 floats.data());
        if (allFinite(floats)) continue;
        throw Error("MODEL_FORMAT",
                    "the quantised tensor '" + name + "' has factors that are not finite numbers",
                    {{"tensor", name}});
    }
}

void placeBlocks(const WeightSource::Values &values, Tensor tensor, ggml_type type,
                 const kernels::WeightShape &shape) {
    const auto row = static_cast<std::size_t>(shape.in) * static_cast<std::size_t>(shape.taps);
    const BlockSize block = blockSize(type);
    const std::size_t rowBytes = row / static_cast<std::size_t>(block.values) * block.bytes;
    auto *to = static_cast<std::byte *>(aligned(tensor->data));
    Converter converter;
    for (std::size_t i = 0; i < static_cast<std::size_t>(shape.out); i++, to += rowBytes) {
        converter.convert(values.type, values.data.get(), i * row, row, type, to);
    }
}

/// What f16 cannot hold became infinite, and would spoil every picture.
void requireFiniteHalves(const std::byte *halves, std::size_t count, const std::string &name) {
    constexpr std::uint16_t exponent = 0x7c00;
    for (std::size_t i = 0; i < count; i++) {
        std::uint16_t half = 0;
        std::memcpy(&half, halves + i * sizeof half, sizeof half);
        if ((half & exponent) != exponent) continue;
        throw Error("MODEL_FORMAT",
                    "tensor '" + name +
                        "' has values that f16 cannot hold, or that are no finite numbers; if they "
                        "are numbers, load the model with the precision bf16 or f32",
                    {{"tensor", name}});
    }
}

void placePlain(const WeightSource::Values &values, Tensor tensor, const std::string &name) {
    if (values.type == tensor->type) {
        ggml_backend_tensor_set(tensor, values.data.get(), 0, values.bytes);
        return;
    }
    const auto count = static_cast<std::size_t>(ggml_nelements(tensor));
    const BlockSize block = blockSize(tensor->type);
    const auto bytesOf = [&](std::size_t n) {
        return n / static_cast<std::size_t>(block.values) * block.bytes;
    };
    Converter converter;
    std::vector<std::byte> converted(bytesOf(std::min(count, kPiece)));
    for (std::size_t first = 0; first < count; first += kPiece) {
        const std::size_t n = std::min(kPiece, count - first);
        converter.convert(values.type, values.data.get(), first, n, tensor->type, converted.data());
        if (tensor->type == GGML_TYPE_F16) requireFiniteHalves(converted.data(), n, name);
        ggml_backend_tensor_set(tensor, converted.data(), bytesOf(first), bytesOf(n));
    }
}

/// `T` is the packer's input type: float, or std::uint16_t for the halves.
template <typename T>
void placePacked(const WeightSource::Values &values, Tensor tensor, ggml_type type,
                 const kernels::WeightPacker &packer, const kernels::WeightShape &shape,
                 int panelWidth, const std::string &name) {
    const bool narrows = type == GGML_TYPE_F16 && values.type != GGML_TYPE_F16;
    const std::size_t length =
        static_cast<std::size_t>(shape.in) * static_cast<std::size_t>(shape.taps);
    Converter converter;
    std::vector<T> channels(length * static_cast<std::size_t>(panelWidth));
    auto *panel = static_cast<std::byte *>(aligned(tensor->data));
    for (int i = 0; i < packer.panels(); i++, panel += packer.panelBytes()) {
        for (int column = 0; column < panelWidth; column++) {
            T *channel = channels.data() + static_cast<std::size_t>(column) * length;
            const int from = packer.channelOf(i, column);
            if (from < 0) {
                std::fill(channel, channel + length, T{});
            } else {
                auto *bytes = reinterpret_cast<std::byte *>(channel);
                converter.convert(values.type, values.data.get(),
                                  static_cast<std::size_t>(from) * length, length, type, bytes);
                if (narrows) requireFiniteHalves(bytes, length, name);
            }
        }
        packer.pack(channels.data(), panel);
    }
}

} // namespace

WeightSource::Values WeightSource::Values::owning(Description description,
                                                  std::vector<std::byte> bytes) {
    const auto owner = std::make_shared<const std::vector<std::byte>>(std::move(bytes));
    return {std::move(description), {owner, owner->data()}, owner->size()};
}

WeightSource::Values WeightSource::Values::owning(std::vector<std::int64_t> shape,
                                                  std::vector<float> floats) {
    const auto owner = std::make_shared<const std::vector<float>>(std::move(floats));
    return {{GGML_TYPE_F32, std::move(shape)},
            {owner, reinterpret_cast<const std::byte *>(owner->data())},
            owner->size() * sizeof(float)};
}

Weights::Weights(Precision precision, const kernels::Kernels *kernels,
                 const WeightSource *quantised)
    : precision_(precision), kernels_(kernels), quantised_(quantised), context_(kMaxTensors) {}

Tensor Weights::declare(const std::string &name, const std::vector<std::int64_t> &shape,
                        ggml_type type) {
    if (declared_.size() == kMaxTensors || name.size() >= GGML_MAX_NAME) {
        throw Error("MODEL_UNSUPPORTED", "the networks of this model have too many tensors");
    }
    const std::vector<std::int64_t> reversed(shape.rbegin(), shape.rend());
    Tensor tensor =
        ggml_new_tensor(context_.get(), type, static_cast<int>(reversed.size()), reversed.data());
    ggml_set_name(tensor, name.c_str());
    declared_.push_back({name, shape, tensor, false, std::nullopt, std::nullopt});
    return tensor;
}

Tensor Weights::factor(const std::string &name, const std::vector<std::int64_t> &shape,
                       kernels::WeightShape &packing) {
    const std::optional<ggml_type> type = quantisedType(name, shape, packing);
    if (kernels_ == nullptr) {
        return declare(name, shape, type.value_or(weightType(precision_)));
    }

    packing.storage = type ? kernels::Storage::Blocks : storageOf(precision_);
    if (type) packing.blocks = formatOf(*type);
    const std::int64_t bytes = kernels::packedBytes(*kernels_, packing);
    Tensor tensor = declare(name, {withAlignment(bytes, 1)}, GGML_TYPE_I8);
    declared_.back().shape = shape;
    declared_.back().packing = packing;
    declared_.back().blocks = type;
    return tensor;
}

/// The type in which a factor can stay as the file has it: its rows have to be whole blocks, and
/// ggml multiplies quantised matrices, but no such kernels of convolutions.
std::optional<ggml_type> Weights::quantisedType(const std::string &name,
                                                const std::vector<std::int64_t> &shape,
                                                const kernels::WeightShape &packing) const {
    if (quantised_ == nullptr || (kernels_ == nullptr && shape.size() > 2)) return std::nullopt;
    const auto stored = quantised_->describe(name);
    const std::int64_t row = std::int64_t{packing.in} * packing.taps;
    const bool fits = isQuantised(stored.type) && row % blockSize(stored.type).values == 0;
    return fits ? std::optional(stored.type) : std::nullopt;
}

Tensor Weights::vector(const std::string &name, std::int64_t length) {
    return declare(name, {length}, GGML_TYPE_F32);
}

Tensor Weights::table(const std::string &name, std::int64_t rows, std::int64_t width) {
    Tensor tensor =
        declare(name, {rows, width}, precision_ == Precision::F32 ? GGML_TYPE_F32 : GGML_TYPE_F16);
    declared_.back().isTable = true;
    return tensor;
}

void Weights::place(const WeightSource::Values &values, const Declared &declared) const {
    if (isQuantised(values.type)) requireFiniteBlocks(values, declared.name);
    if (!declared.packing) return placePlain(values, declared.tensor, declared.name);
    const kernels::WeightPacker packer(*kernels_, *declared.packing);
    const auto pack = [&](auto zero, ggml_type type) {
        placePacked<decltype(zero)>(values, declared.tensor, type, packer, *declared.packing,
                                    kernels_->panelWidth, declared.name);
    };
    switch (declared.packing->storage) {
    case kernels::Storage::F16: return pack(std::uint16_t{}, GGML_TYPE_F16);
    case kernels::Storage::BF16: return pack(std::uint16_t{}, GGML_TYPE_BF16);
    case kernels::Storage::F32:
    case kernels::Storage::Q8: return pack(float{}, GGML_TYPE_F32);
    case kernels::Storage::Blocks:
        return placeBlocks(values, declared.tensor, *declared.blocks, *declared.packing);
    }
}

void Weights::check(const WeightSource &source) const {
    for (const auto &declared : declared_) {
        const auto stored = source.describe(declared.name);
        if (withoutTrailingOnes(stored.shape) != withoutTrailingOnes(declared.shape)) {
            throw Error("MODEL_FORMAT",
                        "tensor '" + declared.name + "' has shape " + shapeText(stored.shape) +
                            ", but the rest of the model needs " + shapeText(declared.shape),
                        {{"tensor", declared.name},
                         {"shape", shapeText(stored.shape)},
                         {"expectedShape", shapeText(declared.shape)}});
        }
    }
}

void Weights::load(const WeightSource &source, Device &device, const Cancellation &cancel,
                   const std::function<void(int)> &progress) {
    const std::uint64_t bytes = this->bytes();
    buffer_.reset(ggml_backend_alloc_ctx_tensors(context_.get(), device.backend()));
    if (!buffer_) {
        throw Error("OUT_OF_MEMORY",
                    "the model's weights need " + std::to_string(bytes / 1048576) +
                        " MiB on device '" + device.id() + "', which could not be allocated",
                    {{"neededBytes", static_cast<double>(bytes)}, {"device", device.id()}});
    }
    preferLargePages(buffer_.get());
    ggml_backend_buffer_set_usage(buffer_.get(), GGML_BACKEND_BUFFER_USAGE_WEIGHTS);

    std::atomic<int> done{0};
    try {
        device.team().run(count(), [&](int i, int thread) {
            cancel.throwIfRequested();
            const Declared &declared = declared_[static_cast<std::size_t>(i)];
            place(source.read(declared.name), declared);
            const int doneNow = ++done;
            if (thread == 0) progress(doneNow);
        });
    } catch (...) {
        giveBack(); // some have values, and others none
        throw;
    }
    progress(count());
}

void Weights::giveBack() {
    buffer_.reset();
    for (const auto &declared : declared_) {
        declared.tensor->data = nullptr;
        declared.tensor->buffer = nullptr;
    }
}

void Weights::replace(const std::vector<std::string> &names,
                      const std::function<WeightSource::Values(const std::string &)> &valuesOf,
                      Team &team, const Cancellation &cancel) {
    std::map<std::string, const Declared *> byName;
    for (const auto &declared : declared_) byName.emplace(declared.name, &declared);
    team.run(static_cast<int>(names.size()), [&](int i, int) {
        cancel.throwIfRequested();
        const std::string &name = names[static_cast<std::size_t>(i)];
        place(valuesOf(name), *byName.at(name));
    });
}

bool Weights::has(const std::string &name) const {
    return std::any_of(declared_.begin(), declared_.end(),
                       [&](const Declared &declared) { return declared.name == name; });
}

std::set<std::string> Weights::names() const {
    std::set<std::string> names;
    for (const auto &declared : declared_) names.insert(declared.name);
    return names;
}

std::vector<std::string> Weights::changeableNames() const {
    std::vector<std::string> names;
    for (const auto &declared : declared_) {
        if (!declared.isTable) names.push_back(declared.name);
    }
    return names;
}

void Weights::beginMeasuring() {
    // Whatever has an address counts as placed.
    for (const auto &declared : declared_) declared.tensor->data = context_.get();
}

void Weights::endMeasuring() {
    for (const auto &declared : declared_) declared.tensor->data = nullptr;
}

std::uint64_t Weights::bytes() const {
    if (buffer_) return ggml_backend_buffer_get_size(buffer_.get());
    std::uint64_t bytes = 0;
    for (const auto &declared : declared_) bytes += ggml_nbytes(declared.tensor);
    return bytes;
}

std::uint64_t Weights::parameters(const std::string &prefix) const {
    std::uint64_t count = 0;
    for (const auto &declared : declared_) {
        if (!startsWith(declared.name, prefix)) continue;
        std::uint64_t elements = 1;
        for (const std::int64_t length : declared.shape) {
            elements *= static_cast<std::uint64_t>(length);
        }
        count += elements;
    }
    return count;
}

} // namespace magicmix
