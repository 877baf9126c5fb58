#include "checkpoint/json.h"

#include "base/error.h"
#include "checkpoint/input_file.h"

#include <algorithm>
#include <iterator>
#include <set>

namespace magicmix {
namespace {

constexpr int kMaxDepth = 64;
// The largest is a tokenizer.json, of 4 MB.
constexpr std::uint64_t kMaxFileBytes = std::uint64_t{16} << 20;
// Bounds the memory: a value takes up to 100 bytes.
constexpr int kMaxValues = 1 << 19;

/// Python writes numbers that JSON does not know; here they are null.
std::string withoutNonNumbers(const std::string &all) {
    static const std::string words[] = {"-Infinity", "Infinity", "NaN"};
    std::string result;
    bool inString = false;
    for (std::size_t i = 0; i < all.size();) {
        const auto *word = std::find_if(std::begin(words), std::end(words), [&](const auto &each) {
            return !inString && all.compare(i, each.size(), each) == 0;
        });
        if (word != std::end(words)) {
            result += "null";
            i += word->size();
            continue;
        }
        const bool escapes = inString && all[i] == '\\' && i + 1 < all.size();
        if (escapes) {
            result += all[i++];
        } else if (all[i] == '"') {
            inString = !inString;
        }
        result += all[i++];
    }
    return result;
}

} // namespace

Json parseJson(const char *text, std::size_t length, const std::string &what) {
    std::set<std::string> names;
    int values = 0;
    const auto watch = [&](int depth, Json::parse_event_t event, Json &parsed) {
        if (++values > kMaxValues) {
            throw Error("MODEL_FORMAT",
                        what + " has more than " + std::to_string(kMaxValues) + " values");
        }
        if (depth > kMaxDepth) {
            throw Error("MODEL_FORMAT",
                        what + " is nested deeper than " + std::to_string(kMaxDepth) + " levels");
        }
        if (event == Json::parse_event_t::key && depth == 1 &&
            !names.insert(parsed.get<std::string>()).second) {
            throw Error("MODEL_FORMAT",
                        what + " has the name '" + parsed.get<std::string>() + "' twice",
                        {{"tensor", parsed.get<std::string>()}});
        }
        return true;
    };
    try {
        return Json::parse(text, text + length, watch);
    } catch (const Json::parse_error &error) {
        // Not what the library says: it quotes the text, which may be of any file.
        throw Error("MODEL_FORMAT",
                    what + " is not valid JSON (at byte " + std::to_string(error.byte) + ")");
    } catch (const Json::exception &) {
        throw Error("MODEL_FORMAT", what + " has a number that is too large");
    }
}

std::string readTextFile(const std::string &path) {
    const auto file = InputFile::open(path);
    if (file->size() > kMaxFileBytes) {
        throw Error("MODEL_FORMAT", "'" + path + "' is too large for a configuration file",
                    {{"path", path}});
    }
    return file->readText(0, static_cast<std::size_t>(file->size()));
}

Json parseJsonFile(const std::string &path) {
    const std::string text = withoutNonNumbers(readTextFile(path));
    return parseJson(text.data(), text.size(), "'" + path + "'");
}

bool isUtf8(const std::string &text) {
    // Nearly all names are plain.
    const auto ascii = [](char c) { return static_cast<unsigned char>(c) < 128; };
    if (std::all_of(text.begin(), text.end(), ascii)) return true;
    try {
        return !Json(text).dump().empty();
    } catch (const Json::exception &) {
        return false;
    }
}

} // namespace magicmix
