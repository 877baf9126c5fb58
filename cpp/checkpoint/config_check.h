#pragma once

#include "checkpoint/json.h"

#include <string>

namespace magicmix {

/// Throws `MODEL_UNSUPPORTED` naming the first key of `config`, a JSON object, that is not honoured
/// and not harmless; `path` is for the message. See config_keys.h. `Json` that is no object passes.
void refuseOtherKeys(const Json &config, const std::string &file, const std::string &path);

} // namespace magicmix
