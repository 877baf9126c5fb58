#pragma once

#include "checkpoint/model_file.h"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace magicmix {

/// The configuration with which PEFT trained: how strong its changes are is not among the tensors.
/// It lies in `adapter_config.json` beside an adapter, and newer versions of diffusers write the
/// same into the metadata of their files, for every part of the model ("unet", "text_encoder").
class PeftConfig {
public:
    /// What the metadata of a file say; nothing, mostly.
    static PeftConfig fromMetadata(const ModelFile &file, const std::string &path);
    /// Of an adapter's whole file. Both throw `MODEL_FORMAT`, and `MODEL_UNSUPPORTED` for whatever
    /// is declared and not honoured.
    static PeftConfig fromFile(const std::string &path);

    /// What has to be known of a module to find its factor.
    struct Module {
        std::string name;   ///< "unet.down_blocks.0...", as in `loraModules`
        const char *method; ///< "LORA", "LOHA" or "LOKR"
        std::int64_t rank;  ///< of its tensors; 0 if they do not show it
        bool hasLengths;    ///< of DoRA
    };
    /// The factor of a module's matrices, or nothing if nothing is declared. Throws
    /// `MODEL_FORMAT` if the tensors are others than declared.
    std::optional<double> scaleOf(const Module &module) const;

    /// A module's name, or the end of one.
    struct Pattern {
        std::string text;
        bool isWhole = false;

        bool matches(const std::string &module) const;
    };
    using PatternValues = std::vector<std::pair<Pattern, double>>;

    /// The configuration of one part of the model.
    struct Part {
        std::string method;
        std::optional<double> alpha, rank;
        PatternValues alphas, ranks; ///< of single modules; the first that matches counts
        std::optional<bool> usesDora;
        bool isStabilised = false;
    };

private:
    PeftConfig() = default;

    std::string where_;                 ///< for messages
    std::map<std::string, Part> parts_; ///< by part of the model; "" is any
};

} // namespace magicmix
