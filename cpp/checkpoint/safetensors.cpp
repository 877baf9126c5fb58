#include "checkpoint/safetensors.h"

#include "base/error.h"
#include "checkpoint/configuration.h"
#include "checkpoint/leftovers.h"
#include "checkpoint/modelspec.h"

#include <algorithm>
#include <cstring>
#include <limits>

namespace magicmix {
namespace {

// The limit of the reference implementation.
constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;
constexpr std::uint64_t kLengthBytes = 8;
constexpr std::size_t kMaxDimensions = 8;
constexpr const char *kMetadata = "__metadata__";

const std::map<std::string, std::uint64_t> kTypeBytes = {
    {"F64", 8},  {"F32", 4}, {"F16", 2},     {"BF16", 2},    {"I64", 8},     {"I32", 4},
    {"I16", 2},  {"I8", 1},  {"U64", 8},     {"U32", 4},     {"U16", 2},     {"U8", 1},
    {"BOOL", 1}, {"C64", 8}, {"F8_E4M3", 1}, {"F8_E5M2", 1}, {"F8_E8M0", 1},
};

std::uint64_t headerLength(const MappedFile &file) {
    std::uint64_t length = 0;
    for (unsigned i = 0; i < kLengthBytes; i++) {
        length |= static_cast<std::uint64_t>(file.data()[i]) << (8 * i);
    }
    return length;
}

/// Turns one entry of the header into a tensor; `where` names the file in messages.
class EntryReader {
public:
    EntryReader(std::shared_ptr<const MappedFile> file, std::uint64_t dataStart)
        : file_(std::move(file)), dataStart_(dataStart) {}

    StoredTensor read(const std::string &name, const Json &entry) const {
        if (!entry.is_object()) fail(name, "is described by " + kind(entry) + ", not by an object");
        StoredTensor tensor;
        tensor.name = name;
        tensor.file = file_;
        tensor.type = type(name, entry);
        tensor.shape = shape(name, entry);
        const auto [begin, end] = offsets(name, entry);
        tensor.offset = dataStart_ + begin;
        tensor.bytes = end - begin;

        const std::uint64_t expected = expectedBytes(name, tensor);
        if (tensor.bytes != expected) {
            fail(name, "has " + std::to_string(tensor.bytes) +
                           " bytes of values, but its shape and type (" + tensor.type + ") need " +
                           std::to_string(expected));
        }
        return tensor;
    }

private:
    [[noreturn]] void fail(const std::string &name, const std::string &problem) const {
        throw Error("MODEL_FORMAT", "tensor '" + name + "' in '" + file_->path() + "' " + problem,
                    {{"tensor", name}, {"path", file_->path()}});
    }

    static std::string kind(const Json &value) {
        return std::string("a JSON ") + value.type_name();
    }

    std::string type(const std::string &name, const Json &entry) const {
        const auto found = entry.find("dtype");
        if (found == entry.end() || !found->is_string()) fail(name, "has no dtype");
        const auto text = found->get<std::string>();
        if (kTypeBytes.count(text) == 0) fail(name, "has the unknown dtype '" + text + "'");
        return text;
    }

    std::vector<std::int64_t> shape(const std::string &name, const Json &entry) const {
        const auto found = entry.find("shape");
        if (found == entry.end() || !found->is_array()) fail(name, "has no shape");
        if (found->size() > kMaxDimensions) fail(name, "has more than 8 dimensions");
        std::vector<std::int64_t> sizes;
        for (const auto &size : *found) {
            if (!size.is_number_unsigned() ||
                size.get<std::uint64_t>() > std::numeric_limits<std::int64_t>::max()) {
                fail(name, "has a shape that is not made of whole numbers: " + found->dump());
            }
            sizes.push_back(size.get<std::int64_t>());
        }
        return sizes;
    }

    std::pair<std::uint64_t, std::uint64_t> offsets(const std::string &name,
                                                    const Json &entry) const {
        const auto found = entry.find("data_offsets");
        if (found == entry.end() || !found->is_array() || found->size() != 2 ||
            !(*found)[0].is_number_unsigned() || !(*found)[1].is_number_unsigned()) {
            fail(name, "has no data_offsets [begin, end]");
        }
        const auto begin = (*found)[0].get<std::uint64_t>();
        const auto end = (*found)[1].get<std::uint64_t>();
        const std::uint64_t available = file_->size() - dataStart_;
        if (begin > end) fail(name, "ends before it begins: data_offsets " + found->dump());
        if (end > available) {
            fail(name, "ends at byte " + std::to_string(end) +
                           " of the values, but the file has only " + std::to_string(available) +
                           ": it is truncated, or its header lies");
        }
        return {begin, end};
    }

    std::uint64_t expectedBytes(const std::string &name, const StoredTensor &tensor) const {
        std::uint64_t bytes = kTypeBytes.at(tensor.type);
        for (const std::int64_t size : tensor.shape) {
            const auto n = static_cast<std::uint64_t>(size);
            if (n != 0 && bytes > std::numeric_limits<std::uint64_t>::max() / n) {
                fail(name, "has a shape whose product overflows");
            }
            bytes *= n;
        }
        return bytes;
    }

    std::shared_ptr<const MappedFile> file_;
    std::uint64_t dataStart_;
};

std::map<std::string, std::string> readMetadata(const Json &header) {
    std::map<std::string, std::string> metadata;
    const auto found = header.find(kMetadata);
    if (found == header.end() || !found->is_object()) return metadata;
    for (const auto &[key, value] : found->items()) {
        if (value.is_string()) metadata.emplace(key, value.get<std::string>());
    }
    return metadata;
}

ModelConfig configOf(const std::map<std::string, std::string> &metadata, const std::string &path) {
    const auto text = metadata.find(kConfigurationKey);
    if (text == metadata.end()) return configOfModelSpec(metadata);
    const std::string where = std::string(kConfigurationKey) + " of '" + path + "'";
    return readConfiguration(parseJson(text->second.data(), text->second.size(), where), where);
}

} // namespace

bool looksLikeSafetensors(const MappedFile &file) {
    return file.size() > kLengthBytes && headerLength(file) <= kMaxHeaderBytes &&
           file.data()[kLengthBytes] == std::byte{'{'};
}

SafetensorsFile readSafetensors(const std::string &path) {
    const auto file = MappedFile::open(path);
    refuseLeftovers(*file);
    const std::string where = "'" + path + "'";
    if (file->size() < kLengthBytes) {
        throw Error("MODEL_FORMAT",
                    where + " has only " + std::to_string(file->size()) +
                        " bytes: too short for a safetensors file",
                    {{"path", path}});
    }
    const std::uint64_t length = headerLength(*file);
    if (length > kMaxHeaderBytes || length > file->size() - kLengthBytes) {
        throw Error("MODEL_FORMAT",
                    where + " says that its header has " + std::to_string(length) +
                        " bytes, but the file has " + std::to_string(file->size()) +
                        ": it is truncated, or not a safetensors file",
                    {{"path", path}});
    }
    const Json header = parseJson(reinterpret_cast<const char *>(file->data()) + kLengthBytes,
                                  static_cast<std::size_t>(length), "the header of " + where);
    if (!header.is_object()) {
        throw Error("MODEL_FORMAT", "the header of " + where + " is not a JSON object",
                    {{"path", path}});
    }

    const EntryReader reader(file, kLengthBytes + length);
    SafetensorsFile result;
    for (const auto &[name, entry] : header.items()) {
        if (name != kMetadata) result.tensors.emplace(name, reader.read(name, entry));
    }
    refuseOverlaps(result.tensors);
    result.metadata = readMetadata(header);
    result.config = configOf(result.metadata, path);
    return result;
}

} // namespace magicmix
