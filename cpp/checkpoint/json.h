#pragma once

#include <cstddef>
#include <string>

#include <nlohmann/json.hpp>

namespace magicmix {

using Json = nlohmann::json;

/// Parses JSON from outside. Refuses duplicate names in the outermost object, nesting deeper than
/// 64 and more values than half a million. Throws `MODEL_FORMAT`; `what` names the text in the
/// message.
Json parseJson(const char *text, std::size_t length, const std::string &what);
/// A file of at most 16 MiB.
std::string readTextFile(const std::string &path);
/// The same for such a file.
Json parseJsonFile(const std::string &path);

/// May `text` stand in JSON? Names from files that are no JSON have to be tested.
bool isUtf8(const std::string &text);

} // namespace magicmix
