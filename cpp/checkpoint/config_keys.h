#pragma once

#include <string>
#include <vector>

namespace magicmix {

/// What becomes of a key in one of the configuration files of a diffusers folder. A key that is not
/// in the table is refused: it may change what the networks compute.
struct ConfigKey {
    enum class Treatment {
        Honoured, ///< read
        Harmless, ///< changes no picture, whatever it says
        Only,     ///< accepted with some values; others are refused
    };

    std::string file; ///< "unet/config.json", ...
    std::string key;
    Treatment treatment = Treatment::Harmless;
    /// Of `Only`: those accepted, as a JSON list. A list of accepted values is accepted, too.
    std::string values;
    std::string why;
};

const std::vector<ConfigKey> &configKeys();

} // namespace magicmix
