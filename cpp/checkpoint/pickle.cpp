#include "checkpoint/pickle.h"

#include <algorithm>
#include <unordered_map>

namespace magicmix {
namespace {

using Kind = PickleValue::Kind;

// Bounds all memory: an opcode takes some 128 bytes at most. A checkpoint of Stable Diffusion with
// its moving averages and the state of its optimiser has fewer than 200,000.
constexpr std::uint64_t kMaxOpcodes = 1 << 19;

// Names are copied and printed when they are called.
constexpr std::size_t kMaxGlobalBytes = 256;

enum Opcode : std::uint8_t {
    kMark = '(',
    kStop = '.',
    kPop = '0',
    kPopMark = '1',
    kDup = '2',
    kBinBytes = 'B',
    kShortBinBytes = 'C',
    kBinFloat = 'G',
    kBinInt = 'J',
    kBinInt1 = 'K',
    kBinInt2 = 'M',
    kNone = 'N',
    kBinPersId = 'Q',
    kReduce = 'R',
    kBinString = 'T',
    kShortBinString = 'U',
    kBinUnicode = 'X',
    kEmptyList = ']',
    kAppend = 'a',
    kBuild = 'b',
    kGlobal = 'c',
    kAppends = 'e',
    kBinGet = 'h',
    kLongBinGet = 'j',
    kBinPut = 'q',
    kLongBinPut = 'r',
    kSetItem = 's',
    kTuple = 't',
    kSetItems = 'u',
    kEmptyDict = '}',
    kEmptyTuple = ')',
    kProto = 0x80,
    kNewObj = 0x81,
    kTuple1 = 0x85,
    kTuple2 = 0x86,
    kTuple3 = 0x87,
    kNewTrue = 0x88,
    kNewFalse = 0x89,
    kLong1 = 0x8a,
    kLong4 = 0x8b,
    kShortBinUnicode = 0x8c,
    kBinUnicode8 = 0x8d,
    kBinBytes8 = 0x8e,
    kEmptySet = 0x8f,
    kAddItems = 0x90,
    kFrozenSet = 0x91,
    kNewObjEx = 0x92,
    kStackGlobal = 0x93,
    kMemoize = 0x94,
    kFrame = 0x95,
    kByteArray8 = 0x96,
};

/// The stack machine that pickles are programs for.
class Machine {
public:
    Machine(ByteReader &reader, const std::function<bool(const std::string &)> &mayCall,
            std::deque<PickleValue> &values, std::deque<std::string> &texts)
        : reader_(reader), mayCall_(mayCall), values_(values), texts_(texts) {}

    const PickleValue *run() {
        for (std::uint64_t i = 0; i < kMaxOpcodes; i++) {
            const auto opcode = reader_.number<std::uint8_t>("a pickle");
            if (opcode == kStop) return pop();
            step(opcode);
        }
        fail("is of more than " + std::to_string(kMaxOpcodes) + " opcodes");
    }

private:
    [[noreturn]] void fail(const std::string &problem) const {
        reader_.fail("has a pickle that " + problem + " (near byte " +
                     std::to_string(reader_.position()) + ")");
    }

    void step(std::uint8_t opcode) {
        switch (opcode) {
        case kProto: return protocol();
        case kFrame: reader_.skip(8, "a pickle"); return;
        case kMark: marks_.push_back(stack_.size()); return;
        case kPop: pop(); return;
        case kPopMark: popToMark(); return;
        case kDup: stack_.push_back(top()); return;

        case kNone: push(Kind::None); return;
        case kNewTrue: pushInteger(Kind::Boolean, 1); return;
        case kNewFalse: pushInteger(Kind::Boolean, 0); return;
        case kBinInt: pushInteger(Kind::Integer, reader_.number<std::int32_t>("a number")); return;
        case kBinInt1: pushInteger(Kind::Integer, reader_.number<std::uint8_t>("a number")); return;
        case kBinInt2:
            pushInteger(Kind::Integer, reader_.number<std::uint16_t>("a number"));
            return;
        case kLong1: pushLong(reader_.number<std::uint8_t>("a number")); return;
        case kLong4: pushLong(reader_.number<std::uint32_t>("a number")); return;
        case kBinFloat: pushReal(); return;

        case kShortBinString:
        case kShortBinUnicode: pushText<std::uint8_t>(Kind::Text); return;
        case kBinString:
        case kBinUnicode: pushText<std::uint32_t>(Kind::Text); return;
        case kBinUnicode8: pushText<std::uint64_t>(Kind::Text); return;
        case kShortBinBytes: pushBytes(reader_.number<std::uint8_t>("bytes")); return;
        case kBinBytes: pushBytes(reader_.number<std::uint32_t>("bytes")); return;
        case kBinBytes8:
        case kByteArray8: pushBytes(reader_.number<std::uint64_t>("bytes")); return;

        case kEmptyTuple: push(Kind::Tuple); return;
        case kTuple1: pushItems(Kind::Tuple, popMany(1)); return;
        case kTuple2: pushItems(Kind::Tuple, popMany(2)); return;
        case kTuple3: pushItems(Kind::Tuple, popMany(3)); return;
        case kTuple: pushItems(Kind::Tuple, popToMark()); return;
        case kEmptyList:
        case kEmptySet: push(Kind::List); return;
        case kFrozenSet: pushItems(Kind::List, popToMark()); return;
        case kEmptyDict: push(Kind::Dictionary); return;
        case kAppend: append(popMany(1)); return;
        case kAppends:
        case kAddItems: append(popToMark()); return;
        case kSetItem: setItems(popMany(2)); return;
        case kSetItems: setItems(popToMark()); return;

        case kBinPut: memo_[reader_.number<std::uint8_t>("a pickle")] = top(); return;
        case kLongBinPut: memo_[reader_.number<std::uint32_t>("a pickle")] = top(); return;
        case kMemoize: memo_[static_cast<std::uint32_t>(memo_.size())] = top(); return;
        case kBinGet: recall(reader_.number<std::uint8_t>("a pickle")); return;
        case kLongBinGet: recall(reader_.number<std::uint32_t>("a pickle")); return;

        case kGlobal: global(); return;
        case kStackGlobal: stackGlobal(); return;
        case kReduce: call(popMany(2)); return;
        case kNewObj: call(popMany(2)); return;
        case kNewObjEx: newObjectEx(); return;
        case kBuild: build(); return;
        case kBinPersId: persistent(); return;
        default:
            fail("has the opcode " + std::to_string(opcode) +
                 ", which is not one that torch.save writes");
        }
    }

    // -----------------------------------------------------------------------------------------
    // The stack. Values are put on it and changed until something else is made of them.

    PickleValue *make(Kind kind) {
        values_.emplace_back();
        values_.back().kind = kind;
        return &values_.back();
    }

    PickleValue *push(Kind kind) {
        stack_.push_back(make(kind));
        return stack_.back();
    }

    /// What lies below the last mark can be reached only after the mark has been taken away.
    std::size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }

    PickleValue *top() const {
        if (stack_.size() <= floor()) fail("takes from an empty stack");
        return stack_.back();
    }

    PickleValue *pop() {
        PickleValue *value = top();
        stack_.pop_back();
        return value;
    }

    std::vector<const PickleValue *> popFrom(std::size_t first) {
        const auto from = stack_.begin() + static_cast<std::ptrdiff_t>(first);
        std::vector<const PickleValue *> items(from, stack_.end());
        stack_.erase(from, stack_.end());
        return items;
    }

    std::vector<const PickleValue *> popMany(std::size_t count) {
        if (stack_.size() < floor() + count) fail("takes from an empty stack");
        return popFrom(stack_.size() - count);
    }

    std::vector<const PickleValue *> popToMark() {
        if (marks_.empty()) fail("looks for a mark that is not there");
        const std::size_t first = marks_.back();
        marks_.pop_back();
        return popFrom(first);
    }

    // -----------------------------------------------------------------------------------------
    // Numbers and texts

    void protocol() {
        const auto version = reader_.number<std::uint8_t>("a pickle");
        if (version < 2 || version > 5) {
            fail("is of protocol " + std::to_string(version) + "; 2 to 5 are read");
        }
    }

    void pushInteger(Kind kind, std::int64_t value) { push(kind)->integer = value; }

    void pushLong(std::uint64_t bytes) {
        if (bytes > sizeof(std::int64_t)) {
            reader_.skip(bytes, "a number");
            push(Kind::BigInteger);
            return;
        }
        const std::string_view text = reader_.take(bytes, "a number");
        const bool negative = !text.empty() && (static_cast<std::uint8_t>(text.back()) & 0x80) != 0;
        std::uint64_t value = negative ? ~std::uint64_t{0} : 0;
        std::memcpy(&value, text.data(), text.size());
        std::int64_t number = 0;
        std::memcpy(&number, &value, sizeof number);
        pushInteger(Kind::Integer, number);
    }

    void pushReal() {
        // the one big-endian number
        const std::string_view text = reader_.take(sizeof(double), "a number");
        char reversed[sizeof(double)];
        std::reverse_copy(text.begin(), text.end(), reversed);
        std::memcpy(&push(Kind::Real)->real, reversed, sizeof reversed);
    }

    template <typename Length>
    void pushText(Kind kind) {
        const std::uint64_t length = reader_.number<Length>("a text");
        const auto kept = std::min<std::uint64_t>(length, PickleValue::kMostText);
        if (length > reader_.left()) reader_.skip(length, "a text");
        push(kind)->text = keep(std::string(reader_.take(kept, "a text")));
        reader_.skip(length - kept, "a text");
    }

    void pushBytes(std::uint64_t length) {
        reader_.skip(length, "bytes");
        push(Kind::Bytes);
    }

    std::string_view keep(std::string text) {
        if (text.empty()) return {};
        return texts_.emplace_back(std::move(text));
    }

    // -----------------------------------------------------------------------------------------
    // Containers

    void pushItems(Kind kind, std::vector<const PickleValue *> items) {
        push(kind)->items = std::move(items);
    }

    void append(const std::vector<const PickleValue *> &items) {
        PickleValue *list = top();
        if (list->kind != Kind::List) fail("appends to something that is no list");
        list->items.insert(list->items.end(), items.begin(), items.end());
    }

    void setItems(const std::vector<const PickleValue *> &items) {
        PickleValue *dictionary = top();
        if (dictionary->kind != Kind::Dictionary && dictionary->kind != Kind::Call) {
            fail("sets items of something that is no dictionary");
        }
        if (items.size() % 2 != 0) fail("sets a key without a value");
        dictionary->items.insert(dictionary->items.end(), items.begin(), items.end());
    }

    void recall(std::uint32_t index) {
        const auto found = memo_.find(index);
        if (found == memo_.end()) {
            fail("recalls value " + std::to_string(index) + ", which it has not kept");
        }
        stack_.push_back(found->second);
    }

    // -----------------------------------------------------------------------------------------
    // What Python would import and call

    void global() {
        const std::string module(reader_.line("the name of a module"));
        pushGlobal(module, reader_.line("the name of a global"));
    }

    void stackGlobal() {
        const auto names = popMany(2);
        if (names[0]->kind != Kind::Text || names[1]->kind != Kind::Text) {
            fail("names a global by something that is no text");
        }
        pushGlobal(names[0]->text, names[1]->text);
    }

    void pushGlobal(std::string_view module, std::string_view name) {
        for (const std::string_view part : {module, name}) {
            if (part.size() > kMaxGlobalBytes) {
                fail("names a global with " + std::to_string(part.size()) + " bytes");
            }
        }
        push(Kind::Global)->text = keep(std::string(module) + " " + std::string(name));
    }

    void call(const std::vector<const PickleValue *> &calleeAndArguments) {
        const PickleValue *callee = calleeAndArguments[0];
        if (callee->kind != Kind::Global) fail("calls something that is no global");
        const std::string name(callee->name());
        if (!mayCall_(name)) {
            const std::string &path = reader_.file().path();
            throw Error("MODEL_UNSUPPORTED",
                        "'" + path + "' wants to call '" + name +
                            "' when it is loaded, which no checkpoint needs; nothing was run, and "
                            "the file is not read. Take care: it may be malicious",
                        {{"global", name}, {"path", path}});
        }
        PickleValue *result = push(Kind::Call);
        result->callee = callee;
        result->arguments = calleeAndArguments[1];
    }

    void newObjectEx() {
        const auto parts = popMany(3); // class, arguments, arguments by name
        call({parts[0], parts[1]});
    }

    void build() {
        const PickleValue *state = pop();
        PickleValue *object = top();
        if (object->kind != Kind::Call) fail("gives a state to something that was not called");
        object->state = state;
    }

    void persistent() {
        const PickleValue *id = pop();
        push(Kind::Persistent)->arguments = id;
    }

    ByteReader &reader_;
    const std::function<bool(const std::string &)> &mayCall_;
    std::deque<PickleValue> &values_;
    std::deque<std::string> &texts_;
    std::vector<PickleValue *> stack_;
    std::vector<std::size_t> marks_; ///< sizes of the stack
    std::unordered_map<std::uint32_t, PickleValue *> memo_;
};

} // namespace

std::string_view PickleValue::name() const {
    const PickleValue *global = kind == Kind::Call ? callee : this;
    return global->kind == Kind::Global ? global->text : std::string_view();
}

Pickle::Pickle(ByteReader &reader, const std::function<bool(const std::string &)> &mayCall) {
    root_ = Machine(reader, mayCall, values_, texts_).run();
}

} // namespace magicmix
