// Whole models, from the head of a safetensors file to built networks. The input is the JSON of the
// head; what it describes are zeros. A mutation changes a name, a type or a side of a shape, and
// puts the offsets right again, so that most inputs get as far as the networks.

#include "engine/inspect.h"
#include "target.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <random>

namespace {

using Json = nlohmann::json;

constexpr std::size_t kMostFileBytes = std::size_t{16} << 20;

std::size_t bytesOf(const std::string &dtype) {
    const std::size_t bytes[] = {1, 2, 4, 8};
    const char *types[] = {"F8_E4M3", "F16", "F32", "F64"};
    for (std::size_t i = 0; i < 4; i++) {
        if (dtype == types[i]) return bytes[i];
    }
    return 2;
}

/// Lays the tensors one after the other.
void layOut(Json &head) {
    std::size_t at = 0;
    for (auto &[name, entry] : head.items()) {
        if (!entry.is_object() || !entry.contains("shape") || !entry["shape"].is_array()) continue;
        std::size_t bytes = bytesOf(entry.value("dtype", "F16"));
        for (const auto &side : entry["shape"]) {
            const auto n = side.is_number_unsigned() ? side.get<std::size_t>() : 1;
            bytes = n < kMostFileBytes ? bytes * n : kMostFileBytes;
            bytes = std::min(bytes, kMostFileBytes);
        }
        entry["data_offsets"] = {at, at + bytes};
        at += bytes;
    }
}

/// Changes one thing about one tensor.
void change(Json &head, std::minstd_rand &random) {
    const auto below = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
    if (head.empty()) return;
    auto item = head.begin();
    std::advance(item, static_cast<std::ptrdiff_t>(below(head.size())));
    const std::string name = item.key();
    Json entry = item.value();
    switch (below(6)) {
    case 0: head.erase(name); return;
    case 1: {
        const char *types[] = {"F8_E4M3", "F8_E5M2", "F16", "BF16", "F32", "F64", "I64"};
        if (entry.is_object()) entry["dtype"] = types[below(7)];
        break;
    }
    case 2: {
        const int sides[] = {0, 1, 2, 3, 4, 8, 16, 31, 32, 64, 77, 320, 768, 1024, 49408, 65537};
        if (!entry.is_object() || !entry.contains("shape") || entry["shape"].empty()) break;
        auto &shape = entry["shape"];
        if (shape.is_array()) shape[below(shape.size())] = sides[below(16)];
        break;
    }
    case 3: {
        if (!entry.is_object() || !entry.contains("shape") || !entry["shape"].is_array()) break;
        auto &shape = entry["shape"];
        if (shape.size() > 1 && below(2) == 0)
            shape.erase(shape.size() - 1);
        else if (shape.size() < 6)
            shape.push_back(1);
        break;
    }
    case 4: { // the same with another number in its name: a block, a layer, a level
        std::string other = name;
        std::vector<std::size_t> digits;
        for (std::size_t i = 0; i < other.size(); i++) {
            if (other[i] >= '0' && other[i] <= '9') digits.push_back(i);
        }
        if (digits.empty()) break;
        other[digits[below(digits.size())]] = static_cast<char>('0' + below(10));
        head[other] = entry;
        return;
    }
    default: { // all of a part goes
        const std::string part = name.substr(0, name.rfind('.', name.rfind('.') - 1));
        std::vector<std::string> names;
        for (const auto &[each, value] : head.items()) {
            if (each.rfind(part, 0) == 0) names.push_back(each);
        }
        for (const auto &each : names) head.erase(each);
        return;
    }
    }
    head[name] = entry;
}

} // namespace

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t *data, std::size_t size, std::size_t most);

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t *data, std::size_t size,
                                               std::size_t most, unsigned int seed) {
    std::minstd_rand random(seed + 1);
    // Now and then bytes at random: the JSON itself may be damaged, too.
    if (random() % 16 == 0) return LLVMFuzzerMutate(data, size, most);
    Json head = Json::parse(data, data + size, nullptr, false);
    if (!head.is_object()) return LLVMFuzzerMutate(data, size, most);
    for (std::size_t n = 1 + random() % 3; n > 0; n--) change(head, random);
    layOut(head);
    const std::string text = head.dump();
    if (text.size() > most) return LLVMFuzzerMutate(data, size, most);
    std::copy(text.begin(), text.end(), data);
    return text.size();
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size) {
    std::string file(8, '\0');
    for (unsigned i = 0; i < 8; i++) file[i] = static_cast<char>(size >> (8 * i) & 255);
    file.append(reinterpret_cast<const char *>(data), size);
    const std::string path = magicmix::memoryFile(file, file.size() + kMostFileBytes);
    magicmix::expectErrorAtMost([&] {
        magicmix::ModelFiles files;
        files.model = path;
        magicmix::inspect(files, {}, magicmix::never());
    });
    return 0;
}
