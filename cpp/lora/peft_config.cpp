#include "lora/peft_config.h"

#include "base/error.h"
#include "base/text.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <utility>

namespace magicmix {
namespace {

// What PEFT takes where the configuration is silent, for both.
constexpr double kDefaultAlpha = 8, kDefaultRank = 8;

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
    {"eva_config", Meaning::Off, "initialised the adapter from data"},
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
    const std::string text = value.dump(-1, ' ', false, Json::error_handler_t::replace);
    return text.size() <= 60 ? text : text.substr(0, 60) + "...";
}

bool flag(const Json &config, const char *key, const std::string &where) {
    const Json &value = valueOf(config, key);
    if (value.is_null()) return false;
    if (!value.is_boolean())
        damaged(where,
                "has '" + std::string(key) + "': " + shown(value) + "; it must be true or false");
    return value.get<bool>();
}

double number(const Json &value, const std::string &key, const std::string &where) {
    const double result = value.is_number() ? value.get<double>() : NAN;
    if (std::isfinite(result)) return result;
    damaged(where, "has '" + key + "': " + shown(value) + "; it must be a number");
}

/// A number of at least 1.
double rank(const Json &value, const std::string &key, const std::string &where) {
    const double result = number(value, key, where);
    if (result >= 1 && result == std::floor(result)) return result;
    damaged(where, "has '" + key + "': " + shown(value) + "; it must be a whole number above 0");
}

/// A pattern is a regular expression for PEFT. In all that people have it is the end of a name,
/// or with ^ the whole one; no other is tried, as an expression can take for ever.
struct Pattern {
    std::string text;
    bool isWhole = false;

    Pattern(const std::string &expression, const std::string &key, const std::string &where) {
        std::string rest = expression;
        if (startsWith(rest, "^")) {
            isWhole = true;
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
                            {{"key", key}});
            }
            text += rest[i];
        }
    }

    bool matches(const std::string &module) const {
        return module == text || (!isWhole && endsWith(module, "." + text));
    }
};

/// The first pattern counts, as for PEFT, which writes them in the order of the alphabet.
std::optional<double> matched(const Json &config, const char *key, const std::string &module,
                              const std::string &where) {
    const Json &patterns = valueOf(config, key);
    if (patterns.is_null()) return std::nullopt;
    for (const auto &[pattern, value] : patterns.items()) {
        if (Pattern(pattern, key, where).matches(module)) return value.get<double>();
    }
    return std::nullopt;
}

void checkPatterns(const Json &config, const char *key, const std::string &where) {
    const Json &patterns = valueOf(config, key);
    if (patterns.is_null()) return;
    if (!patterns.is_object()) damaged(where, "has '" + std::string(key) + "' that is no object");
    for (const auto &[pattern, value] : patterns.items()) {
        const Pattern readable(pattern, key, where);
        const std::string entry = std::string(key) + "." + pattern;
        if (std::string(key) == "rank_pattern") {
            rank(value, entry, where);
        } else {
            number(value, entry, where);
        }
    }
}

std::string method(const Json &config) {
    const Json &type = valueOf(config, "peft_type");
    return type.is_null() ? "LORA" : type.is_string() ? type.get<std::string>() : shown(type);
}

void checkInitialisation(const Json &config, const std::string &where) {
    const Json &value = valueOf(config, "init_lora_weights");
    if (value.is_null() || value.is_boolean()) return;
    // These begin with a product of zero. Others split the base weights, and keep what is left.
    if (value == "gaussian" || value == "orthogonal") return;
    refuse(where, "init_lora_weights",
           "is " + shown(value) +
               ": such an adapter belongs to base weights that were "
               "changed as well");
}

} // namespace

void PeftConfig::check(const Json &config, const std::string &where) {
    if (!config.is_object()) damaged(where, "must be an object");
    for (const auto &[name, value] : config.items()) {
        const auto *key =
            std::find_if(std::begin(kKeys), std::end(kKeys),
                         [&name = name](const Key &each) { return name == each.name; });
        const bool known = key != std::end(kKeys);
        if (known && key->meaning != Meaning::Off) continue;
        if (isOff(value)) continue;
        refuse(where, name, known ? key->otherwise : "is not known, so that it cannot be honoured");
    }
    const std::string type = method(config);
    if (type != "LORA" && type != "LOHA" && type != "LOKR") {
        refuse(where, "peft_type", "is " + type + "; LORA, LOHA and LOKR can be used");
    }
    const Json &bias = valueOf(config, "bias");
    if (!bias.is_null() && bias != "none") {
        refuse(where, "bias", "is " + shown(bias) + ": it comes with biases beside the adapter");
    }
    checkInitialisation(config, where);
    for (const char *key : {"use_rslora", "use_dora"}) flag(config, key, where);
    for (const char *key : {"lora_alpha", "alpha"}) {
        if (config.contains(key)) number(config[key], key, where);
    }
    if (config.contains("r")) rank(config["r"], "r", where);
    for (const char *key : {"alpha_pattern", "rank_pattern"}) checkPatterns(config, key, where);
}

PeftConfig PeftConfig::fromFile(const std::string &path) {
    PeftConfig config;
    config.where_ = "'" + path + "'";
    const Json parsed = parseJsonFile(path);
    check(parsed, config.where_);
    config.parts_.emplace("", parsed);
    return config;
}

PeftConfig PeftConfig::fromMetadata(const ModelFile &file, const std::string &path) {
    PeftConfig config;
    config.where_ = "lora_adapter_metadata of '" + path + "'";
    const auto text = file.metadata.find("lora_adapter_metadata");
    if (text == file.metadata.end()) return config;
    const Json all = parseJson(text->second.data(), text->second.size(), config.where_);
    if (!all.is_object()) damaged(config.where_, "must be an object");
    for (const auto &[key, value] : all.items()) {
        const auto dot = key.find('.');
        const std::string part = key.substr(0, std::min(dot, key.size()));
        if (dot == std::string::npos || (part != "unet" && part != "text_encoder")) {
            if (isOff(value)) continue;
            refuse(config.where_, key, "is neither of the UNet nor of the text encoder");
        }
        auto &ofPart = config.parts_[part];
        if (ofPart.is_null()) ofPart = Json::object();
        ofPart[key.substr(dot + 1)] = value;
    }
    for (const auto &[part, ofPart] : config.parts_) check(ofPart, config.where_);
    return config;
}

std::optional<double> PeftConfig::scaleOf(const Module &module) const {
    const auto dot = std::min(module.name.find('.'), module.name.size());
    auto found = parts_.find("");
    if (found == parts_.end()) found = parts_.find(module.name.substr(0, dot));
    if (found == parts_.end()) return std::nullopt;
    const Json &config = found->second;
    const std::string type = method(config);
    const auto contradicts = [&](const std::string &declared, const std::string &is) {
        damaged(where_, "says " + declared + ", but the tensors of '" + module.name + "' " + is);
    };
    if (type != module.method) {
        contradicts("peft_type " + type, std::string("are of ") + module.method);
    }
    if (!valueOf(config, "use_dora").is_null() &&
        flag(config, "use_dora", where_) != module.hasLengths) {
        contradicts(module.hasLengths ? "use_dora false" : "use_dora true",
                    module.hasLengths ? "have a lora_magnitude_vector"
                                      : "have no lora_magnitude_vector");
    }

    // PEFT knows its modules without the part of the model.
    const std::string name = module.name.substr(std::min(dot + 1, module.name.size()));
    const Json &alphaOfAll = valueOf(config, type == "LORA" ? "lora_alpha" : "alpha");
    const Json &rankOfAll = valueOf(config, "r");
    const double alpha =
        matched(config, "alpha_pattern", name, where_)
            .value_or(alphaOfAll.is_null() ? kDefaultAlpha : alphaOfAll.get<double>());
    const double declaredRank =
        matched(config, "rank_pattern", name, where_)
            .value_or(rankOfAll.is_null() ? kDefaultRank : rankOfAll.get<double>());
    if (module.rank > 0 && static_cast<double>(module.rank) != declaredRank) {
        contradicts("rank " + std::to_string(static_cast<std::int64_t>(declaredRank)),
                    "have rank " + std::to_string(module.rank));
    }
    return alpha / (flag(config, "use_rslora", where_) ? std::sqrt(declaredRank) : declaredRank);
}

} // namespace magicmix
