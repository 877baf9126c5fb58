#include "checkpoint/modelspec.h"

#include "base/latent.h"

#include <regex>

namespace magicmix {

ModelConfig configOfModelSpec(const std::map<std::string, std::string> &metadata) {
    const auto value = [&](const char *key) {
        const auto found = metadata.find(std::string("modelspec.") + key);
        // Nothing that is understood is longer; long ones are not worth a regular expression.
        const bool fits = found != metadata.end() && found->second.size() <= 32;
        return fits ? found->second : std::string();
    };
    ModelConfig config;
    const std::string prediction = value("prediction_type");
    if (prediction == "v") config.unet.prediction = "v_prediction";
    if (prediction == "epsilon") config.unet.prediction = "epsilon";

    static const std::regex resolution(R"((\d{2,4})x(\d{2,4}))");
    std::smatch match;
    const std::string sides = value("resolution");
    if (std::regex_match(sides, match, resolution)) {
        const int side = std::stoi(match[1]) / kPixelsPerCell;
        if (side >= 8) config.unet.sampleSize = side;
    }
    return config;
}

} // namespace magicmix
