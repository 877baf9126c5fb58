#include "lora/peft_config.h"

#include "base/error.h"
#include "base/text.h"
#include "checkpoint/json.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <utility>

namespace magicmix {
namespace {

using Pattern = PeftConfig::Pattern;
using PatternValues = PeftConfig::PatternValues;

// What PEFT takes where the configuration is silent.
constexpr double kDefaultAlpha = 8, kDefaultRank = 8;
// A UNet has some hundred modules. Every module is compared with every pattern.
constexpr std::size_t kMaxPatterns = 4096;
// More than any weight has rows.
constexpr double kMaxRank = 1 << 24;

enum class Meaning {
    Honoured, ///< checked and used below
    Harmless, ///< of the training, or told by the tensors themselves
    Off,      ///< only null, false and what is empty can be honoured
};

struct Key {
    const char *name;
    Meaning meaning;
    const char *otherwise = ""; ///< what it means if it is not off
};
constexpr Key kKeys[] = {
    {"peft_type", Meaning::Honoured},
    {"r", Meaning::Honoured},
    {"lora_alpha", Meaning::Honoured},
    {"alpha", Meaning::Honoured},
    {"rank_pattern", Meaning::Honoured},
    {"alpha_pattern", Meaning::Honoured},
    {"use_rslora", Meaning::Honoured},
    {"use_dora", Meaning::Honoured},
    {"bias", Meaning::Honoured},
    {"init_lora_weights", Meaning::Honoured},

    {"auto_mapping", Meaning::Harmless},
    {"base_model_name_or_path", Meaning::Harmless},
    {"decompose_both", Meaning::Harmless},
    {"decompose_factor", Meaning::Harmless},
    {"exclude_modules", Meaning::Harmless},
    {"inference_mode", Meaning::Harmless},
    {"init_weights", Meaning::Harmless},
    {"layers_pattern", Meaning::Harmless},
    {"layers_to_transform", Meaning::Harmless},
    {"lora_dropout", Meaning::Harmless},
    {"megatron_core", Meaning::Harmless},
    {"module_dropout", Meaning::Harmless},
    {"peft_version", Meaning::Harmless},
    {"qalora_group_size", Meaning::Harmless}, // of use_qalora
    {"rank_dropout", Meaning::Harmless},
    {"rank_dropout_scale", Meaning::Harmless},
    {"revision", Meaning::Harmless},
    {"target_modules", Meaning::Harmless},
    {"task_type", Meaning::Harmless},
    {"use_effective_conv2d", Meaning::Harmless},

    {"alora_invocation_tokens", Meaning::Off, "acts on a part of the prompt only"},
    {"arrow_config", Meaning::Off, "chooses between several adapters"},
    {"corda_config", Meaning::Off, "changed the base weights as well"},
    {"ensure_weight_tying", Meaning::Off, "changes layers that share weights"},
    {"eva_config", Meaning::Off, "is for an adapter made of data (EVA)"},
    {"fan_in_fan_out", Meaning::Off, "is for weights that are transposed"},
    {"kasa_config", Meaning::Off, "changed the base weights as well"},
    {"layer_replication", Meaning::Off, "is for a network with layers repeated"},
    {"loftq_config", Meaning::Off, "changed the base weights as well"},
    {"lora_bias", Meaning::Off, "gives the factors biases of their own"},
    {"lora_ga_config", Meaning::Off, "changed the base weights as well"},
    {"megatron_config", Meaning::Off, "is for a network of Megatron"},
    {"modules_to_save", Meaning::Off, "comes with whole modules beside the adapter"},
    {"monteclora_config", Meaning::Off, "is another method"},
    {"target_parameters", Meaning::Off, "changes parameters outside of layers"},
    {"trainable_token_indices", Meaning::Off, "comes with tokens of its own"},
    {"use_bdlora", Meaning::Off, "is another method (BD-LoRA)"},
    {"use_qalora", Meaning::Off, "is another method (QA-LoRA)"},
    {"velora_config", Meaning::Off, "is another method (VeLoRA)"},
};

[[noreturn]] void refuse(const std::string &where, const std::string &key, const std::string &why) {
    throw Error("MODEL_UNSUPPORTED", where + " has '" + key + "', which " + why, {{"key", key}});
}

[[noreturn]] void damaged(const std::string &where, const std::string &problem) {
    throw Error("MODEL_FORMAT", where + " " + problem);
}

bool isOff(const Json &value) {
    if (value.is_boolean()) return !value.get<bool>();
    if (value.is_string()) return value.get<std::string>().empty();
    return value.is_null() || ((value.is_array() || value.is_object()) && value.empty());
}

const Json &valueOf(const Json &config, const char *key) {
    static const Json none;
    const auto found = config.find(key);
    return found == config.end() ? none : *found;
}

/// For messages: what was found instead.
std::string shown(const Json &value) {
    const std::string text = value.dump(-1, ' ', true, Json::error_handler_t::replace);
    return text.size() <= 60 ? text : text.substr(0, 60) + "...";
}

std::optional<bool> flag(const Json &config, const char *key, const std::string &where) {
    const Json &value = valueOf(config, key);
    if (value.is_null()) return std::nullopt;
    if (value.is_boolean()) return value.get<bool>();
    damaged(where,
            "has '" + std::string(key) + "': " + shown(value) + "; it must be true or false");
}

double alphaOf(const Json &value, const std::string &key, const std::string &where) {
    const double alpha = value.is_number() ? value.get<double>() : NAN;
    if (std::isfinite(alpha)) return alpha;
    damaged(where, "has '" + key + "': " + shown(value) + "; it must be a number");
}

double rankOf(const Json &value, const std::string &key, const std::string &where) {
    const double rank = value.is_number() ? value.get<double>() : NAN;
    if (rank >= 1 && rank <= kMaxRank && rank == std::floor(rank)) return rank;
    damaged(where, "has '" + key + "': " + shown(value) + "; it must be a whole number above 0");
}

using ReadNumber = double (*)(const Json &, const std::string &, const std::string &);

/// Nothing if the key is not there. JSON's null may stand for Python's NaN.
std::optional<double> numberAt(const Json &config, const char *key, ReadNumber read,
                               const std::string &where) {
    const auto found = config.find(key);
    return found == config.end() ? std::nullopt : std::optional(read(*found, key, where));
}

/// A pattern is a regular expression for PEFT. In all that people have it is the end of a name,
/// or with ^ the whole one; others are not tried, as an expression can take for ever.
Pattern patternOf(const std::string &expression, const char *key, const std::string &where) {
    Pattern pattern;
    std::string rest = expression;
    if (startsWith(rest, "^")) {
        pattern.isWhole = true;
        rest.erase(0, 1);
    }
    if (endsWith(rest, "$") && !endsWith(rest, "\\$")) rest.pop_back();
    for (std::size_t i = 0; i < rest.size(); i++) {
        const bool isDot = rest[i] == '\\' && i + 1 < rest.size() && rest[i + 1] == '.';
        if (isDot) i++;
        if (!isDot && contains("\\*+?()[]{}|^$", std::string(1, rest[i]))) {
            throw Error("MODEL_UNSUPPORTED",
                        where + " has the pattern '" + expression + "' in '" + key +
                            "'; names and ends of names can be used, no regular expressions",
                        {{"key", std::string(key)}});
        }
        pattern.text += rest[i];
    }
    return pattern;
}

PatternValues patternsAt(const Json &config, const char *key, ReadNumber read,
                         const std::string &where) {
    const Json &given = valueOf(config, key);
    if (given.is_null()) return {};
    if (!given.is_object() || given.size() > kMaxPatterns) {
        damaged(where, "has '" + std::string(key) + "', which must be an object of at most " +
                           std::to_string(kMaxPatterns) + " patterns");
    }
    PatternValues patterns;
    // In the order of the alphabet, in which PEFT and diffusers write them.
    for (const auto &[pattern, value] : given.items()) {
        patterns.emplace_back(patternOf(pattern, key, where),
                              read(value, std::string(key) + "." + pattern, where));
    }
    return patterns;
}

std::optional<double> matched(const PatternValues &patterns, const std::string &module) {
    for (const auto &[pattern, value] : patterns) {
        if (pattern.matches(module)) return value;
    }
    return std::nullopt;
}

std::string methodOf(const Json &config, const std::string &where) {
    const Json &type = valueOf(config, "peft_type");
    if (type.is_null()) return "LORA";
    for (const char *known : {"LORA", "LOHA", "LOKR"}) {
        if (type == known) return known;
    }
    refuse(where, "peft_type", "is " + shown(type) + "; LORA, LOHA and LOKR can be used");
}

void checkInitialisation(const Json &config, const std::string &where) {
    const Json &value = valueOf(config, "init_lora_weights");
    if (value.is_null() || value.is_boolean()) return;
    // These begin with a product of zero. Others split the base weights, and keep what is left.
    if (value == "gaussian" || value == "orthogonal") return;
    refuse(where, "init_lora_weights",
           "is " + shown(value) + ": such an adapter may belong to base weights that were changed");
}

void checkKeys(const Json &config, const std::string &where) {
    for (const auto &[name, value] : config.items()) {
        const auto *key =
            std::find_if(std::begin(kKeys), std::end(kKeys),
                         [&wanted = name](const Key &each) { return wanted == each.name; });
        const bool known = key != std::end(kKeys);
        if ((known && key->meaning != Meaning::Off) || isOff(value)) continue;
        refuse(where, name, known ? key->otherwise : "is not known, so that it cannot be honoured");
    }
}

PeftConfig::Part partOf(const Json &config, const std::string &where) {
    if (!config.is_object()) damaged(where, "must be an object");
    checkKeys(config, where);
    const Json &bias = valueOf(config, "bias");
    if (!bias.is_null() && bias != "none") {
        refuse(where, "bias", "is " + shown(bias) + ": it comes with biases beside the adapter");
    }
    checkInitialisation(config, where);
    PeftConfig::Part part;
    part.method = methodOf(config, where);
    part.alpha = numberAt(config, part.method == "LORA" ? "lora_alpha" : "alpha", alphaOf, where);
    part.rank = numberAt(config, "r", rankOf, where);
    part.alphas = patternsAt(config, "alpha_pattern", alphaOf, where);
    part.ranks = patternsAt(config, "rank_pattern", rankOf, where);
    part.usesDora = flag(config, "use_dora", where);
    part.isStabilised = flag(config, "use_rslora", where).value_or(false);
    return part;
}

} // namespace

bool PeftConfig::Pattern::matches(const std::string &module) const {
    return module == text || (!isWhole && endsWith(module, "." + text));
}

PeftConfig PeftConfig::fromFile(const std::string &path) {
    PeftConfig config;
    config.where_ = "'" + path + "'";
    config.parts_.emplace("", partOf(parseJsonFile(path), config.where_));
    return config;
}

PeftConfig PeftConfig::fromMetadata(const ModelFile &file, const std::string &path) {
    PeftConfig config;
    config.where_ = "lora_adapter_metadata of '" + path + "'";
    const auto text = file.metadata.find("lora_adapter_metadata");
    if (text == file.metadata.end()) return config;
    const Json all = parseJson(text->second.data(), text->second.size(), config.where_);
    if (!all.is_object()) damaged(config.where_, "must be an object");
    std::map<std::string, Json> parts;
    for (const auto &[key, value] : all.items()) {
        const auto dot = key.find('.');
        const std::string part = key.substr(0, std::min(dot, key.size()));
        if (dot == std::string::npos || (part != "unet" && part != "text_encoder")) {
            if (isOff(value)) continue;
            refuse(config.where_, key, "is neither of the UNet nor of the text encoder");
        }
        parts[part][key.substr(dot + 1)] = value;
    }
    for (const auto &[name, part] : parts) {
        config.parts_.emplace(name, partOf(part, config.where_));
    }
    return config;
}

std::optional<double> PeftConfig::scaleOf(const Module &module) const {
    const auto dot = std::min(module.name.find('.'), module.name.size());
    auto found = parts_.find("");
    if (found == parts_.end()) found = parts_.find(module.name.substr(0, dot));
    if (found == parts_.end()) return std::nullopt;
    const Part &part = found->second;
    const auto contradicts = [&](const std::string &declared, const std::string &is) {
        damaged(where_, "says " + declared + ", but the tensors of '" + module.name + "' " + is);
    };
    if (part.method != module.method) {
        contradicts("peft_type " + part.method, std::string("are of ") + module.method);
    }
    if (part.usesDora && *part.usesDora != module.hasLengths) {
        contradicts(*part.usesDora ? "use_dora true" : "use_dora false",
                    module.hasLengths ? "have a lora_magnitude_vector"
                                      : "have no lora_magnitude_vector");
    }

    // PEFT knows its modules without the part of the model.
    const std::string name = module.name.substr(std::min(dot + 1, module.name.size()));
    auto declared = matched(part.ranks, name);
    if (!declared) declared = part.rank;
    const auto seen = static_cast<double>(module.rank);
    if (declared && module.rank > 0 && *declared != seen) {
        contradicts("rank " + std::to_string(static_cast<std::int64_t>(*declared)),
                    "have rank " + std::to_string(module.rank));
    }
    const double rank = declared.value_or(module.rank > 0 ? seen : kDefaultRank);
    const double alpha = matched(part.alphas, name).value_or(part.alpha.value_or(kDefaultAlpha));
    return alpha / (part.isStabilised ? std::sqrt(rank) : rank);
}

} // namespace magicmix
