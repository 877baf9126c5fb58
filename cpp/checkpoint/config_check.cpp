#include "checkpoint/config_check.h"

#include "base/error.h"
#include "base/text.h"
#include "checkpoint/config_keys.h"

#include <algorithm>

namespace magicmix {
namespace {

/// transformers also writes a token as an object that has its text as `content`.
Json plain(const Json &value) {
    return value.is_object() && value.contains("content") ? value["content"] : value;
}

bool isAccepted(const Json &value, const Json &accepted) {
    const auto isOneOf = [&](const Json &one) {
        return std::find(accepted.begin(), accepted.end(), plain(one)) != accepted.end();
    };
    return isOneOf(value) ||
           (value.is_array() && !value.empty() && std::all_of(value.begin(), value.end(), isOneOf));
}

/// "data.*" covers all keys that begin with "data.".
bool covers(const std::string &row, const std::string &key) {
    if (!endsWith(row, ".*")) return row == key;
    return startsWith(key, row.substr(0, row.size() - 1));
}

[[noreturn]] void refuse(const std::string &path, const std::string &key, const Json &value,
                         const std::string &why) {
    constexpr std::size_t most = 100;
    const std::string text = value.dump(-1, ' ', false, Json::error_handler_t::replace);
    throw Error("MODEL_UNSUPPORTED",
                path + ": " + key + " is " + text.substr(0, most) +
                    (text.size() > most ? "..." : "") + ", which is not supported: " + why,
                {{"path", path}, {"key", key}});
}

} // namespace

void refuseOtherKeys(const Json &config, const std::string &file, const std::string &path) {
    if (!config.is_object()) return;
    for (const auto &[name, value] : config.items()) {
        const std::string &key = name;
        const auto &keys = configKeys();
        const auto row = std::find_if(keys.begin(), keys.end(), [&](const ConfigKey &each) {
            return each.file == file && covers(each.key, key);
        });
        if (row == keys.end()) {
            refuse(path, key.substr(0, 100), value,
                   "the key is not known here, and might change what is computed; if it does not, "
                   "take it out of the file");
        }
        if (row->treatment != ConfigKey::Treatment::Only ||
            isAccepted(value, Json::parse(row->values)))
            continue;
        refuse(path, key, value, row->why + " (accepted: " + row->values + ")");
    }
}

} // namespace magicmix
