#include "checkpoint/modelspec.h"

#include "engine.h"

#include <regex>

namespace magicmix {

DeclaredConfig configOfModelSpec(const Json &metadata) {
    const auto value = [&](const char *key) {
        const auto found = metadata.find(std::string("modelspec.") + key);
        const bool text = found != metadata.end() && found->is_string();
        const std::string words = text ? found->get<std::string>() : "";
        // Nothing that is understood is longer; long ones are not worth a regular expression.
        return words.size() > 32 ? std::string() : words;
    };
    DeclaredConfig config;
    const std::string prediction = value("prediction_type");
    if (prediction == "v") config.predictionType = "v_prediction";
    if (prediction == "epsilon") config.predictionType = "epsilon";

    static const std::regex resolution(R"((\d{2,4})x(\d{2,4}))");
    std::smatch match;
    const std::string sides = value("resolution");
    if (std::regex_match(sides, match, resolution)) {
        const int side = std::stoi(match[1]) / kPixelsPerCell;
        if (side >= 8) config.sampleSize = side;
    }
    return config;
}

} // namespace magicmix
