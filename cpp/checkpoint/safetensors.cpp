#include "checkpoint/safetensors.h"

#include "base/error.h"
#include "checkpoint/configuration.h"
#include "checkpoint/json.h"
#include "checkpoint/modelspec.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

namespace magicmix {
namespace {

// The limit of the reference implementation.
constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;
constexpr std::uint64_t kLengthBytes = 8;
constexpr std::size_t kMaxDimensions = 8;
constexpr int kMaxHeaderDepth = 16;
constexpr int kMaxEntryValues = 64; // a type, a shape, two offsets, and what others might add
constexpr std::size_t kMaxQuotedName = 200;
constexpr std::size_t kMaxTensors = 1 << 16;
constexpr const char *kMetadata = "__metadata__";

const std::map<std::string, std::uint64_t> kTypeBytes = {
    {"F64", 8},  {"F32", 4}, {"F16", 2},     {"BF16", 2},    {"I64", 8},     {"I32", 4},
    {"I16", 2},  {"I8", 1},  {"U64", 8},     {"U32", 4},     {"U16", 2},     {"U8", 1},
    {"BOOL", 1}, {"C64", 8}, {"F8_E4M3", 1}, {"F8_E5M2", 1}, {"F8_E8M0", 1},
};

std::uint64_t headerLength(const InputFile &file) {
    std::uint64_t length = 0;
    for (const std::byte byte : file.read(0, kLengthBytes)) {
        length = length >> 8 | static_cast<std::uint64_t>(byte) << 56;
    }
    return length;
}

/// Turns one entry of the header into a tensor; `where` names the file in messages.
class EntryReader {
public:
    EntryReader(std::shared_ptr<const InputFile> file, std::uint64_t dataStart)
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

    std::shared_ptr<const InputFile> file_;
    std::uint64_t dataStart_;
};

/// Takes the header apart while it is parsed: of a header that lies, nothing large is ever held.
class HeaderReader final : public nlohmann::json_sax<Json> {
public:
    HeaderReader(const EntryReader &entries, SafetensorsFile &result, std::string where,
                 const Cancellation &cancel)
        : entries_(entries), result_(result), where_(std::move(where)), cancel_(cancel) {}

    bool null() override { return value(nullptr); }
    bool boolean(bool given) override { return value(given); }
    bool number_integer(number_integer_t given) override { return value(given); }
    bool number_unsigned(number_unsigned_t given) override { return value(given); }
    bool number_float(number_float_t given, const string_t &) override { return value(given); }
    bool string(string_t &given) override { return value(std::move(given)); }
    bool binary(binary_t &) override { return false; }

    bool start_object(std::size_t) override { return open(Json::object()); }
    bool end_object() override { return close(); }
    bool start_array(std::size_t) override { return open(Json::array()); }
    bool end_array() override { return close(); }

    bool key(string_t &name) override {
        if (depth_ == 1)
            name_ = std::move(name);
        else if (depth_ == 2)
            key_ = std::move(name);
        return true;
    }

    bool parse_error(std::size_t byte, const std::string &, const Json::exception &) override {
        throw Error("MODEL_FORMAT",
                    where_ + " is not valid JSON (at byte " + std::to_string(byte) + ")");
    }

private:
    bool open(Json container) {
        if (depth_ == 0 && !container.is_object()) notAnObject();
        if (depth_ == 1)
            entry_ = std::move(container);
        else if (depth_ > 1)
            put(std::move(container));
        if (++depth_ > kMaxHeaderDepth) {
            throw Error("MODEL_FORMAT", where_ + " is nested deeper than " +
                                            std::to_string(kMaxHeaderDepth) + " levels");
        }
        return true;
    }

    bool close() {
        if (--depth_ == 1) finish();
        return true;
    }

    bool value(Json given) {
        if (depth_ == 0) notAnObject();
        if (depth_ == 1) {
            entry_ = std::move(given);
            finish();
        } else {
            put(std::move(given));
        }
        return true;
    }

    /// Into the entry, or into an array in it. What lies deeper has no meaning.
    void put(Json given) {
        if (name_ != kMetadata && ++values_ > kMaxEntryValues) {
            throw Error("MODEL_FORMAT",
                        where_ + " describes tensor '" + name_.substr(0, kMaxQuotedName) +
                            "' by more than " + std::to_string(kMaxEntryValues) +
                            " values: it has more than 8 dimensions, or is none",
                        {{"tensor", name_.substr(0, kMaxQuotedName)}});
        }
        if (depth_ == 2 && entry_.is_object()) {
            if (name_ == kMetadata) return note(given);
            entry_[key_] = std::move(given);
        } else if (depth_ == 3 && entry_.is_object() && name_ != kMetadata) {
            Json &list = entry_[key_];
            if (list.is_array() && list.size() <= kMaxDimensions) list.push_back(std::move(given));
        }
    }

    void note(const Json &given) {
        if (!given.is_string()) return;
        require(result_.metadata.size(), "notes in its metadata");
        result_.metadata.emplace(key_, given.get<std::string>());
    }

    void finish() {
        cancel_.throwIfRequested();
        values_ = 0;
        if (name_ == kMetadata) {
            if (std::exchange(hasMetadata_, true)) twice();
            return;
        }
        require(result_.tensors.size(), "tensors");
        if (!result_.tensors.emplace(name_, entries_.read(name_, entry_)).second) twice();
    }

    void require(std::size_t count, const std::string &what) const {
        if (count < kMaxTensors) return;
        throw Error("MODEL_FORMAT",
                    where_ + " has more than " + std::to_string(kMaxTensors) + " " + what);
    }

    [[noreturn]] void twice() const {
        throw Error("MODEL_FORMAT", where_ + " has the name '" + name_ + "' twice",
                    {{"tensor", name_}});
    }

    [[noreturn]] void notAnObject() const {
        throw Error("MODEL_FORMAT", where_ + " is not a JSON object");
    }

    const EntryReader &entries_;
    SafetensorsFile &result_;
    std::string where_;
    const Cancellation &cancel_;
    int depth_ = 0;
    std::string name_, key_; ///< of the entry, and in the entry
    Json entry_;
    bool hasMetadata_ = false;
    int values_ = 0; ///< in the entry
};

ModelConfig configOf(const std::map<std::string, std::string> &metadata, const std::string &path) {
    const auto text = metadata.find(kConfigurationKey);
    if (text == metadata.end()) return configOfModelSpec(metadata);
    const std::string where = std::string(kConfigurationKey) + " of '" + path + "'";
    return readConfiguration(parseJson(text->second.data(), text->second.size(), where), where);
}

} // namespace

SafetensorsFile readSafetensors(const std::shared_ptr<const InputFile> &file,
                                const Cancellation &cancel) {
    const std::string &path = file->path();
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
    SafetensorsFile result;
    const EntryReader entries(file, kLengthBytes + length);
    HeaderReader reader(entries, result, "the header of " + where, cancel);
    const std::string header = file->readText(kLengthBytes, static_cast<std::size_t>(length));
    Json::sax_parse(header, &reader);
    refuseOverlaps(result.tensors);
    result.config = configOf(result.metadata, path);
    return result;
}

} // namespace magicmix
