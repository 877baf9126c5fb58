#include "checkpoint/json.h"

#include "base/error.h"
#include "checkpoint/mapped_file.h"

#include <set>

namespace magicmix {
namespace {

constexpr int kMaxDepth = 64;
constexpr std::uint64_t kMaxFileBytes = std::uint64_t{64} << 20;

} // namespace

Json parseJson(const char *text, std::size_t length, const std::string &what) {
    std::set<std::string> names;
    const auto watch = [&](int depth, Json::parse_event_t event, Json &parsed) {
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
    } catch (const Json::exception &error) {
        throw Error("MODEL_FORMAT", what + " is not valid JSON: " + error.what());
    }
}

Json parseJsonFile(const std::string &path) {
    const auto file = MappedFile::open(path);
    if (file->size() > kMaxFileBytes) {
        throw Error("MODEL_FORMAT", "'" + path + "' is too large for a configuration file",
                    {{"path", path}});
    }
    return parseJson(reinterpret_cast<const char *>(file->data()), file->size(), "'" + path + "'");
}

bool isUtf8(const std::string &text) {
    try {
        return !Json(text).dump().empty();
    } catch (const Json::exception &) {
        return false;
    }
}

} // namespace magicmix
