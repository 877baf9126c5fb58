// Whole models, from a file to built networks. The input says how the file comes about: the first
// byte which of the heads that seeds.ts made is changed (names and shapes of a model of absurdly
// narrow networks), then four bytes for each change, up to a zero, then the configuration as JSON,
// unless that of the head shall stay. So an input is nearly always a file that can be read, and it
// is small. The values are zeros.

#include "checkpoint/configuration.h"
#include "engine/inspect.h"
#include "target.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <numeric>
#include <sstream>
#include <vector>

namespace {

/// By its name in a safetensors file, or by its number in a GGUF file.
struct Type {
    const char *name;
    std::uint32_t number;
    std::uint64_t bytes;
};
constexpr Type kF16 = {"F16", 1, 2};
constexpr std::uint32_t kNone = 99;
constexpr Type kTypes[] = {
    {"F32", 0, 4},  kF16,          {"BF16", 30, 2},       {"F64", 28, 8},
    {"I64", 27, 8}, {"I8", 24, 1}, {"F8_E4M3", kNone, 1}, {"F8_E5M2", kNone, 1}};

constexpr std::uint64_t kMostTensorBytes = std::uint64_t{1} << 30;
constexpr std::uint64_t kMostFileBytes = std::uint64_t{1} << 40;
constexpr std::size_t kMostTensors = 2000;

struct Tensor {
    std::string name;
    std::vector<std::uint64_t> shape;
    const Type *type = nullptr;
};

/// A file of `seeds/heads`: a line of configuration, then a line "NAME SIDES..." for each tensor.
struct Head {
    std::string configuration;
    std::vector<Tensor> tensors;
};

std::vector<Head> heads;

Head readHead(const std::string &path) {
    std::ifstream file(path);
    Head head;
    std::string line;
    if (!std::getline(file, head.configuration)) return head;
    while (std::getline(file, line)) {
        std::istringstream words(line);
        Tensor tensor;
        tensor.type = &kF16;
        words >> tensor.name;
        for (std::uint64_t side = 0; words >> side;) tensor.shape.push_back(side);
        head.tensors.push_back(tensor);
    }
    return head;
}

constexpr std::uint64_t kSides[] = {
    0,  1,  2,  3,  4,   5,   6,   7,   8,   9,   12,   16,   24,   31,    32,    33,
    48, 64, 77, 96, 128, 160, 256, 320, 512, 768, 1024, 1280, 4096, 49408, 65537, 1u << 31};

/// Four bytes of the input.
struct Change {
    unsigned what, tensor, value;
};

std::string partOf(const std::string &name, unsigned parts) {
    std::size_t end = name.size();
    for (unsigned i = 0; i <= parts && end != std::string::npos && end > 0; i++) {
        end = name.rfind('.', end - 1);
    }
    return end == std::string::npos ? name : name.substr(0, end + 1);
}

void apply(const Change &change, std::vector<Tensor> &tensors) {
    if (tensors.empty()) return;
    const std::size_t index = change.tensor % tensors.size();
    Tensor &tensor = tensors[index];
    const std::uint64_t side = kSides[change.value % std::size(kSides)];
    switch (change.what % 8) {
    case 0: tensor.type = &kTypes[change.value % std::size(kTypes)]; break;
    case 1:
        if (!tensor.shape.empty()) tensor.shape[change.value / 32 % tensor.shape.size()] = side;
        break;
    case 2: // a dimension more or less
        if (change.value % 2 == 0 && !tensor.shape.empty())
            tensor.shape.pop_back();
        else
            tensor.shape.push_back(1);
        break;
    case 3: { // all sides of that length, in a part of the model or in all of it: wider networks
        if (tensor.shape.empty()) break;
        const std::uint64_t before = tensor.shape[change.value / 32 % tensor.shape.size()];
        const std::string part = change.what < 128 ? "" : partOf(tensor.name, change.what / 8 % 8);
        for (auto &each : tensors) {
            if (each.name.compare(0, part.size(), part) == 0)
                std::replace(each.shape.begin(), each.shape.end(), before, side);
        }
        break;
    }
    case 4:   // the same with another number in its name: a block, a layer, a level
    case 5: { // or the whole part of the model
        const std::string part = change.what % 8 == 4 ? tensor.name : partOf(tensor.name, 1);
        std::vector<std::size_t> digits;
        for (std::size_t i = 0; i < part.size(); i++) {
            if (part[i] >= '0' && part[i] <= '9') digits.push_back(i);
        }
        if (digits.empty()) break;
        const std::size_t digit = digits[change.value / 16 % digits.size()];
        std::vector<Tensor> more;
        for (const auto &each : tensors) {
            if (each.name.compare(0, part.size(), part) != 0) continue;
            more.push_back(each);
            more.back().name[digit] = static_cast<char>('0' + change.value % 10);
        }
        if (tensors.size() + more.size() > kMostTensors) break;
        tensors.insert(tensors.end(), more.begin(), more.end());
        break;
    }
    case 6: { // a part of the model goes
        const std::string part = partOf(tensor.name, change.value % 8);
        tensors.erase(std::remove_if(tensors.begin(), tensors.end(),
                                     [&](const Tensor &each) {
                                         return each.name.compare(0, part.size(), part) == 0;
                                     }),
                      tensors.end());
        break;
    }
    default: tensors.erase(tensors.begin() + static_cast<std::ptrdiff_t>(index)); break;
    }
}

std::uint64_t bytesOf(const Tensor &tensor) {
    std::uint64_t bytes = tensor.type->bytes;
    for (const std::uint64_t side : tensor.shape) {
        bytes = side > kMostTensorBytes / std::max<std::uint64_t>(bytes, 1) ? kMostTensorBytes
                                                                            : bytes * side;
    }
    return bytes;
}

std::string quoted(const std::string &text) {
    using Json = nlohmann::json;
    return Json(text).dump(-1, ' ', false, Json::error_handler_t::replace);
}

/// `number` in as many bytes as its type has, the lowest first.
template <typename T>
void append(std::string &text, T number) {
    for (unsigned i = 0; i < sizeof(T); i++) {
        text += static_cast<char>(static_cast<std::uint64_t>(number) >> (8 * i) & 255);
    }
}

void appendText(std::string &text, const std::string &more) {
    append(text, std::uint64_t{more.size()});
    text += more;
}

/// The head of a GGUF file, whose reader takes little time; `end` becomes the number of bytes
/// behind it.
std::string ggufHead(const std::vector<Tensor> &tensors, const std::string &configuration,
                     std::uint64_t &end) {
    constexpr std::uint32_t version = 3, ofString = 8;
    constexpr std::uint64_t alignment = 32, pairs = 1;
    std::string text = "GGUF";
    append(text, version);
    append(text, std::uint64_t{tensors.size()});
    append(text, pairs);
    appendText(text, magicmix::kConfigurationKey);
    append(text, ofString);
    appendText(text, configuration);
    for (const auto &tensor : tensors) {
        appendText(text, tensor.name);
        append(text, static_cast<std::uint32_t>(tensor.shape.size()));
        for (auto side = tensor.shape.rbegin(); side != tensor.shape.rend(); ++side)
            append(text, *side);
        append(text, tensor.type->number);
        append(text, end);
        end += (bytesOf(tensor) + alignment - 1) / alignment * alignment;
    }
    text.resize((text.size() + alignment - 1) / alignment * alignment);
    return text;
}

/// The same of a safetensors file, of tensors that lie one after the other.
std::string safetensorsHead(const std::vector<Tensor> &tensors, const std::string &configuration,
                            std::uint64_t &end) {
    std::string text = "{\"__metadata__\":{\"" + std::string(magicmix::kConfigurationKey) +
                       "\":" + quoted(configuration) + "}";
    for (const auto &tensor : tensors) {
        text += ",\"" + tensor.name + "\":{\"dtype\":\"" + tensor.type->name + "\",\"shape\":[";
        for (std::size_t i = 0; i < tensor.shape.size(); i++) {
            text += (i == 0 ? "" : ",") + std::to_string(tensor.shape[i]);
        }
        text += "],\"data_offsets\":[" + std::to_string(end);
        end += bytesOf(tensor);
        text += "," + std::to_string(end) + "]}";
    }
    text += "}";
    std::string file;
    appendText(file, text);
    return file;
}

} // namespace

extern "C" int LLVMFuzzerInitialize(int *, char ***arguments) {
    const std::string program = (*arguments)[0];
    const std::string folder = program.substr(0, program.rfind('/') + 1) + "seeds/heads/";
    while (true) {
        Head head = readHead(folder + std::to_string(heads.size()));
        if (head.tensors.empty()) break;
        heads.push_back(std::move(head));
    }
    if (!heads.empty()) return 0;
    std::cerr << "no heads in " << folder << ": see test/fuzz/seeds.ts\n";
    std::exit(1);
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size) {
    if (size == 0) return 0;
    const Head &head = heads[data[0] % heads.size()];
    std::vector<Tensor> tensors = head.tensors;
    std::size_t at = 1;
    for (; at + 4 <= size && data[at] != 0; at += 4) {
        apply({data[at], data[at + 1] + 256u * data[at + 2], data[at + 3]}, tensors);
    }
    at = std::min(at + 1, size);
    std::string configuration(reinterpret_cast<const char *>(data) + at, size - at);
    if (configuration.empty()) configuration = head.configuration;
    std::uint64_t end = 0;
    // Few become safetensors files, which take four times as long. By a sum of all bytes, or the
    // fuzzer, which finds more to do there, would prefer them.
    const bool asSafetensors = std::accumulate(data, data + size, 0u) % 64 == 63;
    const std::string file = asSafetensors ? safetensorsHead(tensors, configuration, end)
                                           : ggufHead(tensors, configuration, end);
    const std::string path =
        magicmix::memoryFile(file, file.size() + std::min(end, kMostFileBytes));
    magicmix::expectErrorAtMost([&] {
        magicmix::ModelFiles files;
        files.model = path;
        magicmix::inspect(files, {}, magicmix::never());
    });
    return 0;
}
