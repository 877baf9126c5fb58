#include "checkpoint/configuration.h"

#include "base/error.h"
#include "base/latent.h"
#include "checkpoint/config_check.h"
#include "checkpoint/tokenizer.h"

#include <algorithm>
#include <cctype>
#include <cmath>

namespace magicmix {
namespace {

/// Reads the configuration of one part of a model and complains in its name.
class Part {
public:
    Part(const Json &parts, const char *name, const std::string &where, const char *configFile)
        : where_(where + ", " + name + "/" + configFile) {
        const auto found = parts.find(name);
        if (found != parts.end()) json_ = *found;
        if (!json_.is_object()) fail("is not a JSON object");
        refuseOtherKeys(json_, std::string(name) + "/" + configFile, where_);
    }

    /// One whose keys are known to be.
    static Part unchecked(const Json &parts, const char *name, const std::string &where) {
        Part part(Json::object(), name, where, "");
        part.json_ = parts.value(name, Json::object());
        if (!part.json_.is_object()) part.fail("is not a JSON object");
        return part;
    }

    std::optional<int> count(const char *key) const {
        const auto found = json_.find(key);
        if (found == json_.end() || found->is_null()) return std::nullopt;
        return toCount(key, *found);
    }

    /// One number, or for every level one or a list of them. 0 counts as well.
    std::vector<std::vector<int>> countsOfEach(const char *key) const {
        const auto found = json_.find(key);
        if (found == json_.end() || found->is_null()) return {};
        const auto number = [&](const Json &value) { return value == 0 ? 0 : toCount(key, value); };
        if (!found->is_array()) return {{number(*found)}};
        std::vector<std::vector<int>> all;
        for (const auto &level : *found) {
            all.emplace_back();
            if (!level.is_array()) all.back().push_back(number(level));
            for (const auto &value : level.is_array() ? level : Json::array()) {
                all.back().push_back(number(value));
            }
            if (all.back().empty()) fail(std::string(key) + " has an empty list");
        }
        return all;
    }

    /// One number or a list of them.
    std::vector<int> counts(const char *key) const {
        const auto found = json_.find(key);
        if (found == json_.end() || found->is_null()) return {};
        if (!found->is_array()) return {toCount(key, *found)};
        std::vector<int> values;
        for (const auto &value : *found) values.push_back(toCount(key, value));
        return values;
    }

    /// A number, or a list that repeats it.
    std::optional<int> same(const char *key) const {
        const std::vector<int> values = counts(key);
        if (values.empty()) return std::nullopt;
        if (std::any_of(values.begin(), values.end(), [&](int n) { return n != values.front(); })) {
            throw Error(
                "MODEL_UNSUPPORTED",
                where_ + ": " + key + " is " + json_.at(key).dump() +
                    ", which is not supported: every level has the same in Stable Diffusion",
                {{"path", where_}, {"key", std::string(key)}});
        }
        return values.front();
    }

    void requireOneOf(const char *key, const std::string &value,
                      const std::vector<std::string> &known) const {
        if (std::find(known.begin(), known.end(), value) != known.end()) return;
        throw Error("MODEL_UNSUPPORTED",
                    where_ + ": " + key + " is '" + value + "', which is not supported",
                    {{"path", where_}, {"key", std::string(key)}});
    }

    std::optional<double> number(const char *key) const {
        const auto found = json_.find(key);
        if (found == json_.end() || found->is_null()) return std::nullopt;
        if (!found->is_number()) fail(std::string(key) + " is not a number");
        return found->get<double>();
    }

    /// Between 0 and 1, which themselves do not count.
    std::optional<double> fraction(const char *key) const {
        const auto value = number(key);
        if (value && !(*value > 0 && *value < 1)) {
            fail(std::string(key) + " is " + json_.at(key).dump() + ", not between 0 and 1");
        }
        return value;
    }

    /// The numbers of a list of `rows` lists of `columns` numbers, row by row.
    std::vector<double> matrix(const char *key, std::size_t rows, std::size_t columns) const {
        const auto found = json_.find(key);
        if (found == json_.end() || found->is_null()) return {};
        std::vector<double> values;
        for (const auto &row : found->is_array() ? *found : Json::array()) {
            for (const auto &value : row.is_array() ? row : Json::array()) {
                if (value.is_number()) values.push_back(value.get<double>());
            }
        }
        if (found->size() != rows || values.size() != rows * columns) {
            fail(std::string(key) + " is not a list of " + std::to_string(rows) + " lists of " +
                 std::to_string(columns) + " numbers");
        }
        return values;
    }

    std::optional<bool> flag(const char *key) const {
        const auto found = json_.find(key);
        if (found == json_.end() || found->is_null()) return std::nullopt;
        if (!found->is_boolean()) fail(std::string(key) + " is neither true nor false");
        return found->get<bool>();
    }

    std::optional<int> whole(const char *key, int least, int most) const {
        const auto value = number(key);
        if (!value) return std::nullopt;
        if (!(*value >= least && *value <= most) || *value != std::floor(*value)) {
            fail(std::string(key) + " is " + json_.at(key).dump() + ", not a whole number from " +
                 std::to_string(least) + " to " + std::to_string(most));
        }
        return static_cast<int>(*value);
    }

    bool has(const char *key) const { return json_.contains(key); }
    bool isNull(const char *key) const { return has(key) && json_.at(key).is_null(); }

    std::optional<std::string> text(const char *key) const {
        const auto found = json_.find(key);
        if (found == json_.end() || found->is_null()) return std::nullopt;
        if (!found->is_string()) fail(std::string(key) + " is not a string");
        return found->get<std::string>();
    }

private:
    [[noreturn]] void fail(const std::string &problem) const {
        throw Error("MODEL_FORMAT", where_ + ": " + problem, {{"path", where_}});
    }

    int toCount(const char *key, const Json &value) const {
        if (!value.is_number_integer() || value.get<std::int64_t>() < 1 ||
            value.get<std::int64_t>() > 65536) {
            fail(std::string(key) + " is " + value.dump() + ", not a whole number from 1 to 65536");
        }
        return value.get<int>();
    }

    std::string where_;
    Json json_ = Json::object();
};

ModelConfig::TextEncoder readTextEncoder(const Part &part) {
    ModelConfig::TextEncoder text;
    text.heads = part.count("num_attention_heads");
    text.layers = part.count("num_hidden_layers");
    text.activation = part.text("hidden_act");
    return text;
}

/// Is it a version of diffusers before 0.9?
bool isBefore09(const std::string &version) {
    return version.size() > 2 && version.compare(0, 2, "0.") == 0 && std::isdigit(version[2]) &&
           (version.size() == 3 || version[3] == '.') && version[2] < '9';
}

/// Of diffusers' DDIMScheduler, where a file of any of its schedulers leaves something out.
Schedule ddimDefaults() {
    Schedule schedule;
    schedule.betas = Schedule::Betas::Linear;
    schedule.betaStart = 0.0001;
    schedule.betaEnd = 0.02;
    schedule.stepsOffset = 0;
    schedule.finalLevel = Schedule::FinalLevel::One;
    schedule.clipRange = 1;
    return schedule;
}

/// What `DDIMScheduler.from_config` makes of the file, whichever scheduler it was written for.
Schedule readSchedule(const Part &part) {
    // Files of ours declare what they differ in.
    Schedule schedule = part.has("_class_name") ? ddimDefaults() : Schedule{};
    schedule.trainingSteps =
        part.whole("num_train_timesteps", 2, 100000).value_or(schedule.trainingSteps);
    if (const auto betas = part.text("beta_schedule")) schedule.betas = parseBetas(*betas);
    schedule.betaStart = part.fraction("beta_start").value_or(schedule.betaStart);
    schedule.betaEnd = part.fraction("beta_end").value_or(schedule.betaEnd);
    schedule.zeroTerminalSnr = part.flag("rescale_betas_zero_snr").value_or(false);
    if (const auto spacing = part.text("timestep_spacing")) {
        schedule.spacing = parseSpacing(*spacing);
    }
    schedule.stepsOffset =
        part.whole("steps_offset", 0, schedule.trainingSteps - 1).value_or(schedule.stepsOffset);
    if (const auto toOne = part.flag("set_alpha_to_one")) {
        schedule.finalLevel = *toOne ? Schedule::FinalLevel::One : Schedule::FinalLevel::First;
    }
    if (part.flag("clip_sample").value_or(schedule.clipRange.has_value())) {
        schedule.clipRange = part.number("clip_sample_range").value_or(1);
    } else {
        schedule.clipRange.reset();
    }
    return schedule;
}

Json scheduleAsJson(const Schedule &schedule) {
    return {
        {"num_train_timesteps", schedule.trainingSteps},
        {"beta_schedule", schedule.betas == Schedule::Betas::Linear ? "linear" : "scaled_linear"},
        {"beta_start", schedule.betaStart},
        {"beta_end", schedule.betaEnd},
        {"rescale_betas_zero_snr", schedule.zeroTerminalSnr},
        {"timestep_spacing", spacingName(schedule.spacing)},
        {"steps_offset", schedule.stepsOffset},
        {"set_alpha_to_one", schedule.finalLevel == Schedule::FinalLevel::One},
        {"clip_sample", schedule.clipRange.has_value()},
        {"clip_sample_range", schedule.clipRange.value_or(1)},
    };
}

} // namespace

ModelConfig readConfiguration(const Json &parts, const std::string &where) {
    if (!parts.is_object()) {
        throw Error("MODEL_FORMAT", where + " is not a JSON object", {{"path", where}});
    }
    ModelConfig config;
    const Part unet(parts, "unet", where, "config.json");
    // In Stable Diffusion's files `attention_head_dim` has always meant the number of heads.
    config.unet.heads = unet.counts("num_attention_heads");
    if (config.unet.heads.empty()) config.unet.heads = unet.counts("attention_head_dim");
    config.unet.headWidth = unet.count("head_width"); // ours; diffusers has none
    config.unet.normGroups = unet.count("norm_num_groups");
    const auto sampleSides = unet.counts("sample_size");
    if (!sampleSides.empty()) config.unet.sampleSize = sampleSides.front();
    // Its first versions noted a wrong one for every model.
    const bool early = isBefore09(unet.text("_diffusers_version").value_or(""));
    if (early && config.unet.sampleSize == 32) config.unet.sampleSize = 64;
    config.unet.channels = unet.counts("block_out_channels");
    config.unet.layers = unet.same("layers_per_block");
    config.unet.contextWidth = unet.same("cross_attention_dim");
    config.unet.addedWidth = unet.count("projection_class_embeddings_input_dim");
    if (const auto middle = unet.text("mid_block_type")) {
        unet.requireOneOf("mid_block_type", *middle, {"UNetMidBlock2DCrossAttn", "UNetMidBlock2D"});
        config.unet.middleResBlocks = *middle == "UNetMidBlock2D" ? 1 : 2;
    } else if (unet.isNull("mid_block_type")) {
        config.unet.middleResBlocks = 0;
    }
    config.unet.depthsDown = unet.countsOfEach("transformer_layers_per_block");
    config.unet.depthsUp = unet.countsOfEach("reverse_transformer_layers_per_block");
    std::reverse(config.unet.depthsUp.begin(), config.unet.depthsUp.end());

    config.textEncoder = readTextEncoder(Part(parts, "text_encoder", where, "config.json"));
    config.textEncoder2 = readTextEncoder(Part(parts, "text_encoder_2", where, "config.json"));
    // A folder's model_index.json was looked at as a whole when its pipeline was.
    config.zerosForEmptyPrompt =
        Part::unchecked(parts, "model_index", where).flag("force_zeros_for_empty_prompt");

    const Part vae(parts, "vae", where, "config.json");
    config.vae.normGroups = vae.count("norm_num_groups");
    config.vae.scalingFactor = vae.number("scaling_factor");
    config.vae.channels = vae.counts("block_out_channels");
    config.vae.layers = vae.count("layers_per_block");
    config.vae.latentRgb =
        vae.matrix("latent_rgb", 3, kLatentChannels + 1); // ours; diffusers has none

    const Part tiny(parts, "tinyDecoder", where, "config.json");
    config.tinyDecoder.scalingFactor = tiny.number("scaling_factor");
    config.tinyDecoder.latentChannels = tiny.count("latent_channels");
    config.tinyDecoder.channels = tiny.counts("decoder_block_out_channels");
    config.tinyDecoder.blocks = tiny.counts("num_decoder_blocks");

    if (parts.contains("tokenizer")) {
        config.tokenizer = tokenizerFromJson(parts["tokenizer"], where + ", tokenizer");
    }
    if (parts.contains("tokenizer_2")) {
        config.textEncoder2.padding =
            tokenizerFromJson(parts["tokenizer_2"], where + ", tokenizer_2").padding;
    }
    if (parts.contains("scheduler")) {
        const Part scheduler(parts, "scheduler", where, "scheduler_config.json");
        config.unet.prediction = scheduler.text("prediction_type");
        config.schedule = readSchedule(scheduler);
    }
    return config;
}

Json configurationOf(const ModelConfig &config) {
    Json parts = Json::object();
    const auto put = [&](const char *part, const char *key, const auto &value) {
        if (value) parts[part][key] = *value;
    };
    if (!config.unet.heads.empty()) parts["unet"]["num_attention_heads"] = config.unet.heads;
    put("unet", "head_width", config.unet.headWidth);
    put("unet", "norm_num_groups", config.unet.normGroups);
    put("unet", "sample_size", config.unet.sampleSize);
    const auto putText = [&](const char *part, const ModelConfig::TextEncoder &text) {
        put(part, "num_attention_heads", text.heads);
        put(part, "num_hidden_layers", text.layers);
        put(part, "hidden_act", text.activation);
    };
    putText("text_encoder", config.textEncoder);
    putText("text_encoder_2", config.textEncoder2);
    put("model_index", "force_zeros_for_empty_prompt", config.zerosForEmptyPrompt);
    const Json tokenizer = tokenizerAsJson(config.tokenizer);
    if (!tokenizer.empty()) parts["tokenizer"] = tokenizer;
    put("tokenizer_2", "pad_token_id", config.textEncoder2.padding);
    put("vae", "norm_num_groups", config.vae.normGroups);
    put("vae", "scaling_factor", config.vae.scalingFactor);
    for (std::size_t row = 0; row < config.vae.latentRgb.size(); row += kLatentChannels + 1) {
        const auto first = config.vae.latentRgb.begin() + static_cast<std::ptrdiff_t>(row);
        parts["vae"]["latent_rgb"].push_back(
            Json(std::vector<double>(first, first + kLatentChannels + 1)));
    }
    if (config.schedule) parts["scheduler"] = scheduleAsJson(*config.schedule);
    put("scheduler", "prediction_type", config.unet.prediction);
    return parts;
}

} // namespace magicmix
