#pragma once

#include "checkpoint/byte_reader.h"

#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace magicmix {

/// The contents of a pickle, as they stand there. Values can be shared, and a list can even contain
/// itself: code that walks through them must count.
struct PickleValue {
    enum class Kind {
        None,
        Boolean,    ///< `integer`
        Integer,    ///< `integer`
        BigInteger, ///< more than 8 bytes, which nobody needs
        Real,       ///< `real`
        Text,       ///< `text`, of which no more than `kMostText` bytes are kept
        Bytes,      ///< what they are, nobody needs
        Tuple,      ///< `items`
        List,       ///< `items`; sets too
        Dictionary, ///< `items`: key, value, key, value, ...
        Global,     ///< `text`: "module name". Not looked up, not called.
        Call,       ///< `callee` with `arguments`; `items` set on the result, `state` given to it
        Persistent, ///< `arguments`: an id that the format around the pickle gives a meaning
    };
    static constexpr std::size_t kMostText = 2048;

    Kind kind = Kind::None;
    std::int64_t integer = 0;
    double real = 0;
    std::string_view text; ///< lives as long as the `Pickle`
    std::vector<const PickleValue *> items;
    const PickleValue *callee = nullptr, *arguments = nullptr, *state = nullptr;

    /// "module name" of a global, or of what a call would call; else "".
    std::string_view name() const;
};

/// Reads Python's pickle format, protocols 2 to 5, without Python: the opcodes are noted down as a
/// tree and nothing is ever executed, imported or built. Even so, a call is noted only if
/// `mayCall` knows its name ("collections OrderedDict"); every other is refused by name, so that
/// nobody passes a file on as harmless because it could be read here. A global which is only
/// mentioned is harmless and remains a name.
class Pickle {
public:
    /// Reads up to and including the end of the pickle. Throws `MODEL_FORMAT`, and
    /// `MODEL_UNSUPPORTED` for a call that is not allowed. Takes at most some 64 MB of memory
    /// beside the texts.
    Pickle(ByteReader &reader, const std::function<bool(const std::string &)> &mayCall);

    const PickleValue &root() const { return *root_; }
    const std::deque<PickleValue> &values() const { return values_; }

private:
    std::deque<PickleValue> values_; // never move, so that pointers to them hold
    std::deque<std::string> texts_;
    const PickleValue *root_ = nullptr;
};

} // namespace magicmix
