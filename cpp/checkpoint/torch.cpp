#include "checkpoint/torch.h"

#include "base/text.h"
#include "checkpoint/json.h"
#include "checkpoint/pickle.h"
#include "checkpoint/zip.h"

#include <algorithm>
#include <optional>
#include <set>

namespace magicmix {
namespace {

using Kind = PickleValue::Kind;

constexpr std::size_t kMaxTensors = 1 << 16;
constexpr std::size_t kMaxNameBytes = 1 << 10;
constexpr std::size_t kMaxBytesOfNames = 1 << 24;
constexpr std::size_t kMaxDimensions = 8;
constexpr int kMaxDepth = 16;
// A dictionary can be mentioned in many places: a few opcodes would make a tree without end.
constexpr std::uint64_t kMaxVisits = 1 << 20;

// A module of torch has some 20 properties.
constexpr std::size_t kMaxStateItems = 128;

struct Type {
    std::string name; ///< as in `StoredTensor`
    std::uint64_t bytes = 0;
};

const std::map<std::string, Type> kStorages = {
    {"torch FloatStorage", {"F32", 4}},
    {"torch HalfStorage", {"F16", 2}},
    {"torch BFloat16Storage", {"BF16", 2}},
    {"torch DoubleStorage", {"F64", 8}},
    {"torch LongStorage", {"I64", 8}},
    {"torch IntStorage", {"I32", 4}},
    {"torch ShortStorage", {"I16", 2}},
    {"torch CharStorage", {"I8", 1}},
    {"torch ByteStorage", {"U8", 1}},
    {"torch BoolStorage", {"BOOL", 1}},
    {"torch.storage UntypedStorage", {"U8", 1}},
};

/// Types without a storage class of their own; only `_rebuild_tensor_v3` names them.
const std::map<std::string, Type> kTypes = {
    {"torch float8_e4m3fn", {"F8_E4M3", 1}},
    {"torch float8_e5m2", {"F8_E5M2", 1}},
    {"torch uint16", {"U16", 2}},
    {"torch uint32", {"U32", 4}},
    {"torch uint64", {"U64", 8}},
};

constexpr const char *kOrderedDict = "collections OrderedDict";
constexpr const char *kParameterDict = "torch.nn.modules.container ParameterDict";
constexpr const char *kRebuildTensor = "torch._utils _rebuild_tensor";
constexpr const char *kRebuildTensor2 = "torch._utils _rebuild_tensor_v2";
constexpr const char *kRebuildTensor3 = "torch._utils _rebuild_tensor_v3";
constexpr const char *kRebuildParameter = "torch._utils _rebuild_parameter";

/// The callables that a checkpoint may name. The first six have a meaning here. The rest is
/// what pytorch-lightning leaves in its checkpoints, Stable Diffusion 1.4's own among them: numpy
/// numbers (a learning rate, a best loss) and small containers. They are data that nobody looks at.
/// That file also mentions the class ModelCheckpoint, as the key of a dictionary: it is not called,
/// so it needs no place here.
const std::set<std::string> kCallable = {
    kOrderedDict,
    kParameterDict,
    kRebuildTensor,
    kRebuildTensor2,
    kRebuildTensor3,
    kRebuildParameter,
    "numpy.core.multiarray scalar",
    "numpy._core.multiarray scalar",
    "numpy.core.multiarray _reconstruct",
    "numpy._core.multiarray _reconstruct",
    "numpy dtype",
    "_codecs encode",
    "torch Size",
    "torch device",
    "collections defaultdict",
    "__builtin__ set",
    "builtins set",
};

bool mayCall(const std::string &name) { return kCallable.count(name) > 0; }

[[noreturn]] void fail(const InputFile &file, const std::string &problem) {
    throw Error("MODEL_FORMAT", "'" + file.path() + "' " + problem, {{"path", file.path()}});
}

[[noreturn]] void unsupported(const InputFile &file, const std::string &problem) {
    throw Error("MODEL_UNSUPPORTED", "'" + file.path() + "' " + problem, {{"path", file.path()}});
}

// ---------------------------------------------------------------------------------------------
// Storages: the memory that tensors are views of

/// `('storage', class, key, location, number of elements)`, to which the form from before torch 1.6
/// adds what the storage is a view of, or None.
struct StorageId {
    Type type;
    std::string key;
    std::uint64_t elements = 0;
};

StorageId storageId(const InputFile &file, const PickleValue &persistent) {
    const PickleValue &id = *persistent.arguments;
    const auto &parts = id.items;
    const bool wellFormed = id.kind == Kind::Tuple && (parts.size() == 5 || parts.size() == 6) &&
                            parts[0]->text == "storage" && parts[1]->kind == Kind::Global &&
                            parts[2]->kind == Kind::Text && parts[4]->kind == Kind::Integer &&
                            parts[4]->integer >= 0;
    if (!wellFormed) fail(file, "refers to something that is no storage of torch");
    if (parts.size() == 6 && parts[5]->kind != Kind::None) {
        unsupported(file, "has storages that are views of others, as torch wrote them before 0.4");
    }
    const auto type = kStorages.find(std::string(parts[1]->name()));
    if (type == kStorages.end()) {
        unsupported(file, "has a storage of the class '" + std::string(parts[1]->name()) +
                              "', which is not known here");
    }
    return {type->second, std::string(parts[2]->text.substr(0, kMaxNameBytes)),
            static_cast<std::uint64_t>(parts[4]->integer)};
}

/// Where the storages of a file lie, by key.
using StorageRanges = std::map<std::string, ZipEntry>;

// ---------------------------------------------------------------------------------------------
// Tensors

/// Makes tensors of the calls that would make them in Python.
class TensorReader {
public:
    TensorReader(std::shared_ptr<const InputFile> file, StorageRanges storages)
        : file_(std::move(file)), storages_(std::move(storages)) {}

    static bool isTensor(const PickleValue &value) {
        const std::string_view name = value.kind == Kind::Call ? value.name() : "";
        return name == kRebuildTensor || name == kRebuildTensor2 || name == kRebuildTensor3 ||
               name == kRebuildParameter;
    }

    StoredTensor read(const std::string &name, const PickleValue &value) const {
        if (value.name() == kRebuildParameter) {
            const auto &arguments = value.arguments->items;
            if (arguments.empty() || arguments[0]->name() == kRebuildParameter ||
                !isTensor(*arguments[0])) {
                failAt(name, "is a parameter without a tensor");
            }
            return read(name, *arguments[0]);
        }
        return rebuild(name, value);
    }

private:
    [[noreturn]] void failAt(const std::string &name, const std::string &problem) const {
        throw Error("MODEL_FORMAT", "tensor '" + name + "' in '" + file_->path() + "' " + problem,
                    {{"tensor", name}, {"path", file_->path()}});
    }

    /// `(storage, offset, shape, strides, ...)`; version 3 has a type in the seventh place.
    StoredTensor rebuild(const std::string &name, const PickleValue &call) const {
        const auto &arguments = call.arguments->items;
        const bool typed = call.name() == kRebuildTensor3;
        if (call.arguments->kind != Kind::Tuple || arguments.size() < (typed ? 7u : 4u) ||
            arguments[0]->kind != Kind::Persistent || arguments[1]->kind != Kind::Integer ||
            arguments[1]->integer < 0) {
            failAt(name, "is not described as torch does it");
        }
        const StorageId storage = storageId(*file_, *arguments[0]);
        Type type = storage.type;
        if (typed) type = typeNamed(name, *arguments[6]);
        const ZipEntry range = rangeOf(name, storage);

        StoredTensor tensor;
        tensor.name = name;
        tensor.type = type.name;
        tensor.file = file_;
        tensor.shape = numbers(name, *arguments[2], "shape");
        const auto strides = numbers(name, *arguments[3], "strides");
        if (strides.size() != tensor.shape.size()) {
            failAt(name, "has " + std::to_string(tensor.shape.size()) + " sizes, but " +
                             std::to_string(strides.size()) + " strides");
        }
        place(tensor, strides, static_cast<std::uint64_t>(arguments[1]->integer), type, range);
        return tensor;
    }

    Type typeNamed(const std::string &name, const PickleValue &global) const {
        const std::string dtype(global.name());
        const auto found = kTypes.find(dtype);
        if (found == kTypes.end()) {
            throw Error("MODEL_UNSUPPORTED",
                        "tensor '" + name + "' in '" + file_->path() + "' is of type '" + dtype +
                            "', which is not known here",
                        {{"tensor", name}});
        }
        return found->second;
    }

    ZipEntry rangeOf(const std::string &name, const StorageId &storage) const {
        const auto found = storages_.find(storage.key);
        if (found == storages_.end()) {
            failAt(name, "lies in storage '" + storage.key + "', which the file does not have");
        }
        if (storage.elements != found->second.bytes / storage.type.bytes) {
            failAt(name, "lies in storage '" + storage.key + "' of " +
                             std::to_string(storage.elements) + " elements, but the file has " +
                             std::to_string(found->second.bytes) +
                             " bytes for it: it is damaged, or lies");
        }
        return found->second;
    }

    std::vector<std::int64_t> numbers(const std::string &name, const PickleValue &list,
                                      const std::string &what) const {
        const bool size = list.kind == Kind::Call && list.name() == "torch Size" &&
                          !list.arguments->items.empty();
        const PickleValue &tuple = size ? *list.arguments->items[0] : list;
        if (tuple.kind != Kind::Tuple || tuple.items.size() > kMaxDimensions) {
            failAt(name, "has no " + what + " of at most 8 numbers");
        }
        std::vector<std::int64_t> result;
        for (const PickleValue *item : tuple.items) {
            if (item->kind != Kind::Integer || item->integer < 0) {
                failAt(name, "has " + what + " that are no whole numbers from 0");
            }
            result.push_back(item->integer);
        }
        return result;
    }

    /// Finds the bytes from the first element to the last, and that they lie in the storage.
    void place(StoredTensor &tensor, std::vector<std::int64_t> strides, std::uint64_t first,
               const Type &type, const ZipEntry &range) const {
        const std::uint64_t available = range.bytes / type.bytes;
        const std::uint64_t count = elementCount(tensor.shape, "tensor '" + tensor.name + "'");
        tensor.offset = range.offset;
        if (count == 0) return;
        // A stride of 0 repeats elements: without this a few bytes would become any amount of
        // memory.
        if (count > file_->size()) {
            failAt(tensor.name, "has " + std::to_string(count) +
                                    " elements, more than the whole file has bytes");
        }
        std::uint64_t last = first;
        for (std::size_t i = 0; i < strides.size(); i++) {
            if (tensor.shape[i] == 1) strides[i] = 0; // never taken, and can be any number
            const auto steps = static_cast<std::uint64_t>(tensor.shape[i] - 1);
            const auto stride = static_cast<std::uint64_t>(strides[i]);
            if (last >= available || (steps > 0 && stride > (available - 1 - last) / steps)) {
                last = available;
                break;
            }
            last += steps * stride;
        }
        if (last >= available) {
            failAt(tensor.name,
                   "reaches beyond its storage of " + std::to_string(available) + " elements");
        }
        tensor.offset += first * type.bytes;
        tensor.bytes = (last - first + 1) * type.bytes;
        if (!contiguous(tensor.shape, strides)) tensor.strides = strides;
    }

    static bool contiguous(const std::vector<std::int64_t> &shape,
                           const std::vector<std::int64_t> &strides) {
        std::int64_t expected = 1;
        for (std::size_t i = shape.size(); i-- > 0;) {
            if (shape[i] != 1 && strides[i] != expected) return false;
            expected *= shape[i];
        }
        return true;
    }

    std::shared_ptr<const InputFile> file_;
    StorageRanges storages_;
};

// ---------------------------------------------------------------------------------------------
// Names

/// Walks through what was pickled and gives every tensor its dotted name.
class Flattener {
public:
    Flattener(const InputFile &file, const TensorReader &reader) : file_(file), reader_(reader) {}

    StoredTensors flatten(const PickleValue &root) {
        visit(unwrapped(root), "", 0);
        return std::move(tensors_);
    }

private:
    /// Trainers save more than weights, and put those into a dictionary of their own.
    static const PickleValue &unwrapped(const PickleValue &root) {
        const PickleValue *value = &root;
        for (const char *wrapper : {"state_dict", "model_state_dict", "model", "module"}) {
            const auto pairs = pairsOf(*value);
            for (std::size_t i = 0; i + 1 < pairs.size(); i += 2) {
                const bool wrapped = pairs[i]->kind == Kind::Text && pairs[i]->text == wrapper &&
                                     isDictionary(*pairs[i + 1]);
                if (wrapped) {
                    value = pairs[i + 1];
                    break;
                }
            }
        }
        return *value;
    }

    static bool isDictionary(const PickleValue &value) {
        return value.kind == Kind::Dictionary ||
               (value.kind == Kind::Call &&
                (value.name() == kOrderedDict || value.name() == kParameterDict));
    }

    /// Keys and values in turns. Those of a module are in its state.
    static std::vector<const PickleValue *> pairsOf(const PickleValue &value) {
        if (!isDictionary(value)) return {};
        if (value.kind == Kind::Call && value.name() == kParameterDict && value.state != nullptr &&
            value.state->kind == Kind::Dictionary) {
            const auto &state = value.state->items;
            for (std::size_t i = 0; i + 1 < std::min(state.size(), kMaxStateItems); i += 2) {
                if (state[i]->text == "_parameters" && isDictionary(*state[i + 1])) {
                    return state[i + 1]->items;
                }
            }
        }
        return value.items;
    }

    void visit(const PickleValue &value, const std::string &name, int depth) {
        if (depth > kMaxDepth) {
            fail(file_, "is nested deeper than " + std::to_string(kMaxDepth) + " levels");
        }
        countVisits(1 + value.items.size());
        if (TensorReader::isTensor(value)) {
            add(name, value);
        } else if (value.kind == Kind::List || value.kind == Kind::Tuple) {
            for (std::size_t i = 0; i < value.items.size(); i++) {
                visit(*value.items[i], joined(name, std::to_string(i)), depth + 1);
            }
        } else if (isDictionary(value)) {
            const auto pairs = pairsOf(value);
            countVisits(pairs.size());
            for (std::size_t i = 0; i + 1 < pairs.size(); i += 2) {
                const auto key = keyOf(*pairs[i]);
                if (key) visit(*pairs[i + 1], joined(name, *key), depth + 1);
            }
        }
    }

    void countVisits(std::uint64_t count) {
        visits_ += count;
        if (visits_ > kMaxVisits) fail(file_, "mentions its parts too often");
    }

    void add(const std::string &name, const PickleValue &value) {
        if (!isUtf8(name)) fail(file_, "has a tensor whose name is not UTF-8");
        nameBytes_ += name.size();
        if (tensors_.size() >= kMaxTensors || nameBytes_ > kMaxBytesOfNames) {
            fail(file_, "has more than " + std::to_string(kMaxTensors) +
                            " tensors, or names of more than " + std::to_string(kMaxBytesOfNames) +
                            " bytes together");
        }
        if (!tensors_.emplace(name, reader_.read(name, value)).second) {
            throw Error("MODEL_FORMAT", "'" + file_.path() + "' has the name '" + name + "' twice",
                        {{"tensor", name}, {"path", file_.path()}});
        }
    }

    static std::optional<std::string> keyOf(const PickleValue &key) {
        if (key.kind == Kind::Text) return std::string(key.text.substr(0, kMaxNameBytes + 1));
        if (key.kind == Kind::Integer) return std::to_string(key.integer);
        return std::nullopt;
    }

    std::string joined(const std::string &name, const std::string &key) const {
        if (name.size() + key.size() >= kMaxNameBytes) {
            fail(file_, "has a name of more than " + std::to_string(kMaxNameBytes) + " bytes");
        }
        return name.empty() ? key : name + "." + key;
    }

    const InputFile &file_;
    const TensorReader &reader_;
    StoredTensors tensors_;
    std::uint64_t visits_ = 0;
    std::size_t nameBytes_ = 0;
};

StoredTensors tensorsOf(const std::shared_ptr<const InputFile> &file, const PickleValue &root,
                        StorageRanges storages) {
    const TensorReader reader(file, std::move(storages));
    return Flattener(*file, reader).flatten(root);
}

// ---------------------------------------------------------------------------------------------
// The zip form: NAME/data.pkl, NAME/data/KEY, and small notes such as NAME/byteorder

constexpr const char *kPickleName = "/data.pkl";

constexpr std::string_view kLittleEndian = "little";

bool isLittleEndian(const InputFile &file, const ZipEntry &order) {
    return order.bytes == kLittleEndian.size() &&
           file.readText(order.offset, kLittleEndian.size()) == kLittleEndian;
}

/// The common beginning of all names: "archive" or the name of the file.
std::string topFolder(const InputFile &file, const ZipEntries &entries) {
    std::string folder;
    for (const auto &[name, entry] : entries) {
        const std::size_t slash = name.find('/');
        if (slash == std::string::npos || name.substr(slash) != kPickleName) continue;
        if (!folder.empty()) fail(file, "is a zip archive with two data.pkl");
        folder = name.substr(0, slash);
    }
    if (folder.empty()) fail(file, "is a zip archive without a data.pkl; torch.save writes one");
    return folder;
}

StoredTensors readArchive(const std::shared_ptr<const InputFile> &file,
                          const Cancellation &cancel) {
    const ZipEntries entries = readZip(*file, cancel);
    const std::string folder = topFolder(*file, entries);
    if (entries.count(folder + "/constants.pkl") > 0) {
        unsupported(*file, "is a TorchScript program, not a checkpoint");
    }
    const auto order = entries.find(folder + "/byteorder");
    if (order != entries.end() && !isLittleEndian(*file, order->second)) {
        unsupported(*file, "was saved on a big-endian machine");
    }

    StorageRanges storages;
    const std::string prefix = folder + "/data/";
    for (const auto &[name, entry] : entries) {
        if (startsWith(name, prefix)) storages.emplace(name.substr(prefix.size()), entry);
    }
    const ZipEntry &data = entries.at(folder + kPickleName);
    ByteReader reader(*file, data.offset, data.offset + data.bytes, cancel);
    const Pickle pickle(reader, mayCall);
    return tensorsOf(file, pickle.root(), std::move(storages));
}

// ---------------------------------------------------------------------------------------------
// The form from before torch 1.6: a magic number, a version and the machine's properties as a
// pickle each, the objects, the keys of the storages, and these one after the other

constexpr char kLegacyMagic[] = "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";
constexpr std::size_t kLegacyMagicBytes = sizeof kLegacyMagic - 1;
constexpr std::int64_t kLegacyProtocol = 1001;

void requireLittleEndian(const InputFile &file, const PickleValue &machine) {
    for (std::size_t i = 0; i + 1 < machine.items.size(); i += 2) {
        if (machine.items[i]->text == "little_endian" && machine.items[i + 1]->integer == 0) {
            unsupported(file, "was saved on a big-endian machine");
        }
    }
}

/// Every storage is a number of elements and these. Only the pickle declares how large one is.
StorageRanges legacyStorages(ByteReader &reader, const Pickle &objects, const Pickle &keys) {
    const InputFile &file = reader.file();
    std::map<std::string, StorageId> ids;
    for (const PickleValue &value : objects.values()) {
        if (value.kind != Kind::Persistent) continue;
        const StorageId id = storageId(file, value);
        const auto known = ids.emplace(id.key, id).first;
        if (known->second.type.bytes != id.type.bytes) {
            fail(file, "gives storage '" + id.key + "' two types");
        }
    }
    StorageRanges ranges;
    if (keys.root().kind != Kind::List) fail(file, "has no list of its storages");
    for (const PickleValue *key : keys.root().items) {
        const auto id = ids.find(std::string(key->text));
        if (id == ids.end()) fail(file, "has a storage that nothing refers to");
        const auto elements = reader.number<std::uint64_t>("the length of a storage");
        if (elements > reader.left() / id->second.type.bytes) {
            fail(file, "ends within storage '" + id->first + "': it is truncated, or lies");
        }
        const std::uint64_t bytes = elements * id->second.type.bytes;
        if (!ranges.emplace(id->first, ZipEntry{reader.position(), bytes}).second) {
            fail(file, "has storage '" + id->first + "' twice");
        }
        reader.skip(bytes, "a storage");
    }
    return ranges;
}

StoredTensors readLegacy(const std::shared_ptr<const InputFile> &file, const Cancellation &cancel) {
    ByteReader reader(*file, 0, file->size(), cancel);
    const Pickle magic(reader, mayCall), protocol(reader, mayCall), machine(reader, mayCall);
    if (protocol.root().integer != kLegacyProtocol) {
        unsupported(*file, "is of the protocol " + std::to_string(protocol.root().integer) +
                               " of torch.save; 1001 is read");
    }
    requireLittleEndian(*file, machine.root());
    const Pickle objects(reader, mayCall), keys(reader, mayCall);
    return tensorsOf(file, objects.root(), legacyStorages(reader, objects, keys));
}

bool looksLegacy(const InputFile &file) {
    return file.size() >= kLegacyMagicBytes &&
           file.readText(0, kLegacyMagicBytes) == std::string(kLegacyMagic, kLegacyMagicBytes);
}

} // namespace

bool looksLikeTorch(const InputFile &file) { return looksLikeZip(file) || looksLegacy(file); }

StoredTensors readTorch(const std::shared_ptr<const InputFile> &file, const Cancellation &cancel) {
    return looksLegacy(*file) ? readLegacy(file, cancel) : readArchive(file, cancel);
}

} // namespace magicmix
