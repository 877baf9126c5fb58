#pragma once

#include <optional>
#include <string>
#include <vector>

namespace magicmix {

/// What the configuration files beside the weights say; empty where there are none. Written by
/// checkpoint/, read by model/.
struct DeclaredConfig {
    std::vector<int> unetHeads;       ///< one number, or one a level
    std::optional<int> unetHeadWidth; ///< channels of a head, if it is that and not `unetHeads`
    std::optional<int> unetNormGroups;
    std::optional<int> sampleSize; ///< side of the latents that the UNet was trained on
    std::optional<int> textEncoderHeads;
    std::optional<std::string> textEncoderActivation;
    std::optional<int> vaeNormGroups;
    std::optional<double> vaeScalingFactor;
    std::vector<double> latentRgb; ///< as in AutoencoderConfig; empty if not told
    std::optional<std::string> predictionType;
};

} // namespace magicmix
