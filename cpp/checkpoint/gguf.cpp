#include "checkpoint/gguf.h"

#include "base/error.h"
#include "base/text.h"
#include "checkpoint/byte_reader.h"
#include "checkpoint/configuration.h"
#include "tensor/conversion.h"

#include <algorithm>
#include <cstring>

namespace magicmix {
namespace {

constexpr std::string_view kMagic = "GGUF";
constexpr std::uint64_t kMaxTensors = 1 << 16;
constexpr std::uint64_t kMaxPairs = 1 << 16;
constexpr std::uint64_t kMaxNameBytes = 1 << 12;
constexpr std::uint64_t kMaxConfigurationBytes = 1 << 20;
constexpr std::uint32_t kMaxDimensions = 4; // ggml's limit
constexpr std::uint64_t kMaxAlignment = 1 << 20;
constexpr const char *kOriginalShape = "comfy.gguf.orig_shape.";

/// Types of metadata, numbered as the format does it.
enum class Kind : std::uint32_t {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    Bool,
    String,
    Array,
    U64,
    I64,
    F64
};
// clang-format off
constexpr std::uint64_t kKindBytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
// clang-format on

/// Reads what GGUF is made of.
class Reader {
public:
    Reader(const InputFile &file, const Cancellation &cancel)
        : bytes_(file, 0, file.size(), cancel) {}

    [[noreturn]] void fail(const std::string &problem) const {
        const std::string &path = bytes_.file().path();
        throw Error("MODEL_FORMAT", "the GGUF file '" + path + "' " + problem, {{"path", path}});
    }

    std::uint64_t position() const { return bytes_.position(); }
    std::uint64_t left() const { return bytes_.left(); }
    void skip(std::uint64_t bytes, const std::string &what) { bytes_.skip(bytes, what.c_str()); }

    template <typename T>
    T number(const std::string &what) {
        return bytes_.number<T>(what.c_str());
    }

    std::string text(std::uint64_t limit, const std::string &what) {
        const auto length = number<std::uint64_t>(what);
        if (length > limit) {
            fail("has " + what + " of " + std::to_string(length) + " bytes; at most " +
                 std::to_string(limit) + " are read");
        }
        const std::string text(bytes_.take(length, what.c_str()));
        if (!isUtf8(text)) fail("has " + what + " that is not UTF-8");
        return text;
    }

    Kind kind(const std::string &what) {
        const auto number32 = number<std::uint32_t>("the type of " + what);
        if (number32 > static_cast<std::uint32_t>(Kind::F64)) {
            fail("has " + what + " of the unknown type " + std::to_string(number32));
        }
        return static_cast<Kind>(number32);
    }

    /// What a key's value begins with, if it is an array: the type and number of its elements.
    std::pair<Kind, std::uint64_t> arrayHead(const std::string &what) {
        const Kind element = kind("the elements of " + what);
        return {element, number<std::uint64_t>("the length of " + what)};
    }

    void skipValue(Kind kind, const std::string &what) {
        if (kind == Kind::Array) {
            const auto [element, count] = arrayHead(what);
            skipElements(element, count, what);
        } else {
            skipElements(kind, 1, what);
        }
    }

private:
    void skipElements(Kind element, std::uint64_t count, const std::string &what) {
        if (element == Kind::Array) fail("has arrays of arrays in " + what);
        if (element == Kind::String) {
            // Every string takes at least the bytes of its length, so the file bounds the count.
            for (std::uint64_t i = 0; i < count; i++) {
                bytes_.skip(bytes_.number<std::uint64_t>("a length"), "a string");
            }
            return;
        }
        const std::uint64_t bytes = kKindBytes[static_cast<std::size_t>(element)];
        if (count > left() / bytes) fail("ends within the elements of " + what);
        skip(count * bytes, what);
    }

    ByteReader bytes_;
};

/// The part of the metadata that is used.
struct Metadata {
    std::uint64_t alignment = 32;
    std::string configuration;
    std::map<std::string, std::vector<std::int64_t>> originalShapes; ///< by tensor
};

std::vector<std::int64_t> readShape(Reader &reader, const std::string &key) {
    const auto [element, count] = reader.arrayHead(key);
    if (element != Kind::I32 || count > 8)
        reader.fail("has no shape of at most 8 numbers in " + key);
    std::vector<std::int64_t> shape;
    for (std::uint64_t i = 0; i < count; i++) shape.push_back(reader.number<std::int32_t>(key));
    return shape;
}

void readPair(Reader &reader, Metadata &metadata) {
    const std::string name = reader.text(kMaxNameBytes, "a key");
    const std::string key = "key '" + name + "'";
    const Kind kind = reader.kind(key);
    if (name == "general.alignment") {
        if (kind != Kind::U32) reader.fail("has an alignment that is no u32");
        metadata.alignment = reader.number<std::uint32_t>(key);
        const bool power = (metadata.alignment & (metadata.alignment - 1)) == 0;
        if (metadata.alignment == 0 || !power || metadata.alignment > kMaxAlignment) {
            reader.fail("has the alignment " + std::to_string(metadata.alignment) +
                        ", which is not a power of two up to " + std::to_string(kMaxAlignment));
        }
    } else if (name == kConfigurationKey && kind == Kind::String) {
        metadata.configuration = reader.text(kMaxConfigurationBytes, key);
    } else if (startsWith(name, kOriginalShape) && kind == Kind::Array) {
        metadata.originalShapes[name.substr(std::strlen(kOriginalShape))] = readShape(reader, key);
    } else {
        reader.skipValue(kind, key);
    }
}

/// The description of a tensor. Its offset is still that from the start of the values.
StoredTensor readDescription(Reader &reader) {
    StoredTensor tensor;
    tensor.name = reader.text(kMaxNameBytes, "the name of a tensor");
    const std::string what = "tensor '" + tensor.name + "'";
    const auto dimensions = reader.number<std::uint32_t>(what);
    if (dimensions > kMaxDimensions) {
        reader.fail("has " + what + " of " + std::to_string(dimensions) + " dimensions; at most " +
                    std::to_string(kMaxDimensions) + " are possible");
    }
    tensor.shape.resize(dimensions);
    for (auto side = tensor.shape.rbegin(); side != tensor.shape.rend(); ++side) {
        const auto length = reader.number<std::uint64_t>(what);
        if (length > std::uint64_t{1} << 40) reader.fail("has " + what + " with an absurd shape");
        *side = static_cast<std::int64_t>(length);
    }
    const auto number = reader.number<std::uint32_t>(what);
    tensor.type = number < GGML_TYPE_COUNT ? ggmlTypeName(static_cast<ggml_type>(number)) : "";
    if (tensor.type.empty()) {
        throw Error("MODEL_UNSUPPORTED",
                    what + " is of type " + std::to_string(number) + ", which is not known here",
                    {{"tensor", tensor.name}});
    }
    tensor.offset = reader.number<std::uint64_t>(what);

    const BlockSize block = blockSize(static_cast<ggml_type>(number));
    const std::uint64_t count = elementCount(tensor.shape, what);
    const std::int64_t row = tensor.shape.empty() ? 1 : tensor.shape.back();
    if (row % block.values != 0) {
        reader.fail("has " + what + " of type " + tensor.type + " with rows of " +
                    std::to_string(row) + " values, which are not whole blocks of " +
                    std::to_string(block.values));
    }
    const std::uint64_t blocks = count / static_cast<std::uint64_t>(block.values);
    // A file has fewer bytes than this, so the product below does not overflow.
    if (blocks > std::uint64_t{1} << 48) reader.fail("has " + what + " with an absurd shape");
    tensor.bytes = blocks * block.bytes;
    return tensor;
}

void restoreShape(const Reader &reader, StoredTensor &tensor,
                  const std::vector<std::int64_t> &original) {
    const std::string what = "tensor '" + tensor.name + "'";
    if (elementCount(original, what) != elementCount(tensor.shape, what)) {
        reader.fail("notes an original shape for " + what + " that has another number of elements");
    }
    tensor.shape = original;
}

} // namespace

bool looksLikeGguf(const InputFile &file) {
    return file.size() >= kMagic.size() && file.readText(0, kMagic.size()) == kMagic;
}

GgufFile readGguf(const std::shared_ptr<const InputFile> &file, const Cancellation &cancel) {
    const std::string &path = file->path();
    Reader reader(*file, cancel);
    if (!looksLikeGguf(*file)) reader.fail("does not begin with 'GGUF'");
    reader.skip(kMagic.size(), "the magic number");
    const auto version = reader.number<std::uint32_t>("the version");
    if (version != 2 && version != 3) {
        const bool swapped = version == 2u << 24 || version == 3u << 24;
        throw Error("MODEL_UNSUPPORTED",
                    "'" + path + "' is " +
                        (swapped ? "a big-endian GGUF file"
                                 : "of GGUF version " + std::to_string(version)) +
                        "; versions 2 and 3, little-endian, are read",
                    {{"path", path}});
    }
    const auto tensorCount = reader.number<std::uint64_t>("the number of tensors");
    const auto pairCount = reader.number<std::uint64_t>("the number of keys");
    if (tensorCount > kMaxTensors || pairCount > kMaxPairs) {
        reader.fail("claims " + std::to_string(tensorCount) + " tensors and " +
                    std::to_string(pairCount) + " keys; at most " + std::to_string(kMaxTensors) +
                    " of each are read");
    }

    Metadata metadata;
    for (std::uint64_t i = 0; i < pairCount; i++) readPair(reader, metadata);

    GgufFile result;
    for (std::uint64_t i = 0; i < tensorCount; i++) {
        StoredTensor tensor = readDescription(reader);
        tensor.file = file;
        const auto [at, isNew] = result.tensors.try_emplace(tensor.name);
        if (!isNew) reader.fail("has two tensors called '" + tensor.name + "'");
        at->second = std::move(tensor);
    }

    const std::uint64_t padding =
        (metadata.alignment - reader.position() % metadata.alignment) % metadata.alignment;
    // A file without values may end without padding.
    reader.skip(std::min(padding, reader.left()), "the padding");
    for (auto &[name, tensor] : result.tensors) {
        if (tensor.offset % metadata.alignment != 0) {
            reader.fail("has tensor '" + name + "' at an offset that is not a multiple of " +
                        std::to_string(metadata.alignment));
        }
        if (tensor.offset > reader.left() || tensor.bytes > reader.left() - tensor.offset) {
            reader.fail("is too short for the values of tensor '" + name +
                        "': it is truncated, or its head lies");
        }
        tensor.offset += reader.position();
        const auto original = metadata.originalShapes.find(name);
        if (original != metadata.originalShapes.end()) {
            restoreShape(reader, tensor, original->second);
        }
    }
    refuseOverlaps(result.tensors);

    if (!metadata.configuration.empty()) {
        const std::string where = std::string(kConfigurationKey) + " of '" + path + "'";
        result.config = readConfiguration(
            parseJson(metadata.configuration.data(), metadata.configuration.size(), where), where);
    }
    return result;
}

} // namespace magicmix
