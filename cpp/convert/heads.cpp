#include "convert/heads.h"

#include "base/error.h"
#include "base/text.h"
#include "checkpoint/configuration.h"
#include "model/names.h"
#include "tensor/conversion.h"

#include <algorithm>
#include <cstring>

namespace magicmix {
namespace {

constexpr std::uint64_t kAlignment = 32;

std::uint64_t aligned(std::uint64_t offset) {
    return (offset + kAlignment - 1) / kAlignment * kAlignment;
}

/// Puts little-endian numbers and texts behind each other, as GGUF wants them.
class GgufWriter {
public:
    template <typename T>
    void number(T value) {
        const auto *from = reinterpret_cast<const std::byte *>(&value);
        bytes.insert(bytes.end(), from, from + sizeof value);
    }
    void text(const std::string &value) {
        number(static_cast<std::uint64_t>(value.size()));
        const auto *from = reinterpret_cast<const std::byte *>(value.data());
        bytes.insert(bytes.end(), from, from + value.size());
    }
    void pair(const std::string &key, const std::string &value) {
        text(key);
        number(kString);
        text(value);
    }
    void pair(const std::string &key, std::uint32_t value) {
        text(key);
        number(kU32);
        number(value);
    }
    void pair(const std::string &key, const std::vector<std::int64_t> &values) {
        text(key);
        number(kArray);
        number(kI32);
        number(static_cast<std::uint64_t>(values.size()));
        for (const auto value : values) number(static_cast<std::int32_t>(value));
    }

    std::vector<std::byte> bytes;

private:
    static constexpr std::uint32_t kU32 = 4, kI32 = 5, kString = 8, kArray = 9;
};

/// Blocks run along the last axis, so the kernels of a convolution are rows when quantised.
std::vector<std::int64_t> ggufShape(const PlannedTensor &tensor) {
    if (!isQuantised(tensor.type) || tensor.shape.size() <= 2) return tensor.shape;
    std::int64_t row = 1;
    for (std::size_t i = 1; i < tensor.shape.size(); i++) row *= tensor.shape[i];
    return {tensor.shape[0], row};
}

const char *safetensorsType(const PlannedTensor &tensor) {
    switch (tensor.type) {
    case GGML_TYPE_F32: return "F32";
    case GGML_TYPE_F16: return "F16";
    case GGML_TYPE_BF16: return "BF16";
    default:
        throw Error("INVALID_ARGUMENT",
                    "safetensors files cannot hold quantised weights; write a .gguf file, or "
                    "choose f32, f16 or bf16");
    }
}

/// ComfyUI-GGUF refuses names that it does not know. "sd1" is its for the UNets of 1.x and of 2.x,
/// whose tensors have the same names. Only those of XL have added conditioning.
std::string architectureOf(const std::vector<PlannedTensor> &tensors) {
    const bool isXl = std::any_of(tensors.begin(), tensors.end(), [](const auto &tensor) {
        return startsWith(tensor.name, kUnetPrefix + std::string("label_emb.")) ||
               startsWith(tensor.name, kXlOpenClipPrefix);
    });
    return isXl ? "sdxl" : "sd1";
}

} // namespace

std::vector<std::byte> ggufHead(std::vector<PlannedTensor> &tensors, const std::string &config) {
    std::vector<const PlannedTensor *> flattened;
    for (const auto &tensor : tensors) {
        if (ggufShape(tensor) != tensor.shape) flattened.push_back(&tensor);
    }
    GgufWriter writer;
    for (const char letter : {'G', 'G', 'U', 'F'}) writer.number(letter);
    writer.number(std::uint32_t{3});
    writer.number(static_cast<std::uint64_t>(tensors.size()));
    writer.number(static_cast<std::uint64_t>(4 + flattened.size()));
    writer.pair("general.architecture", architectureOf(tensors));
    writer.pair("general.quantization_version", GGML_QNT_VERSION);
    writer.pair("general.alignment", static_cast<std::uint32_t>(kAlignment));
    writer.pair(kConfigurationKey, config);
    for (const auto *tensor : flattened) {
        writer.pair("comfy.gguf.orig_shape." + tensor->name, tensor->shape);
    }

    std::uint64_t offset = 0; // from the first value
    for (auto &tensor : tensors) {
        const auto shape = ggufShape(tensor);
        writer.text(tensor.name);
        writer.number(static_cast<std::uint32_t>(shape.size()));
        for (auto size = shape.rbegin(); size != shape.rend(); size++) {
            writer.number(static_cast<std::uint64_t>(*size));
        }
        writer.number(static_cast<std::uint32_t>(tensor.type));
        writer.number(offset);
        tensor.offset = offset;
        offset = aligned(offset + tensor.bytes);
    }
    writer.bytes.resize(aligned(writer.bytes.size()));
    for (auto &tensor : tensors) tensor.offset += writer.bytes.size();
    return std::move(writer.bytes);
}

std::vector<std::byte> safetensorsHead(std::vector<PlannedTensor> &tensors,
                                       const std::string &config) {
    Json header = Json::object();
    header["__metadata__"] = {{"format", "pt"}, {kConfigurationKey, config}};
    std::uint64_t offset = 0;
    for (auto &tensor : tensors) {
        header[tensor.name] = {{"dtype", safetensorsType(tensor)},
                               {"shape", tensor.shape},
                               {"data_offsets", {offset, offset + tensor.bytes}}};
        tensor.offset = offset;
        offset += tensor.bytes;
    }
    std::string text = header.dump();
    text.resize((text.size() + 7) / 8 * 8, ' ');
    const std::uint64_t length = text.size();
    std::vector<std::byte> bytes(sizeof length + text.size());
    std::memcpy(bytes.data(), &length, sizeof length);
    std::memcpy(bytes.data() + sizeof length, text.data(), text.size());
    for (auto &tensor : tensors) tensor.offset += bytes.size();
    return bytes;
}

} // namespace magicmix
