#include "checkpoint/original_config.h"

#include "base/error.h"
#include "checkpoint/config_check.h"

#include <map>

namespace magicmix {
namespace {

constexpr int kMaxDepth = 12;

/// Keys with dots between them: "model.params.parameterization".
void flatten(const Json &object, const std::string &prefix, int depth, Json &flat,
             const std::string &where) {
    if (depth > kMaxDepth) {
        throw Error("MODEL_FORMAT",
                    where + " is nested deeper than " + std::to_string(kMaxDepth) + " levels");
    }
    for (const auto &[key, value] : object.items()) {
        const std::string full = prefix.empty() ? key : prefix + "." + key;
        if (value.is_object())
            flatten(value, full, depth + 1, flat, where);
        else
            flat[full] = value;
    }
}

/// The values that are read, by their dotted keys.
class Values {
public:
    Values(const Json &flat, std::string where) : flat_(flat), where_(std::move(where)) {}

    std::optional<double> number(const std::string &key, double least, double most) const {
        const auto found = flat_.find(key);
        if (found == flat_.end() || found->is_null()) return std::nullopt;
        const double value = found->is_number() ? found->get<double>() : least - 1;
        if (!(value >= least && value <= most)) fail(key, *found);
        return value;
    }

    std::optional<int> whole(const std::string &key, int least, int most) const {
        const auto value = number(key, least, most);
        return value ? std::optional(static_cast<int>(*value)) : std::nullopt;
    }

    std::optional<std::string> text(const std::string &key) const {
        const auto found = flat_.find(key);
        if (found == flat_.end() || found->is_null()) return std::nullopt;
        if (!found->is_string()) fail(key, *found);
        return found->get<std::string>();
    }

    [[noreturn]] void fail(const std::string &key, const Json &value) const {
        throw Error("MODEL_FORMAT",
                    where_ + ": " + key + " cannot be " + value.dump().substr(0, 80),
                    {{"path", where_}, {"key", key}});
    }

private:
    const Json &flat_;
    std::string where_;
};

} // namespace

ModelConfig readOriginalConfig(const Json &json, const std::string &where) {
    if (!json.is_object()) {
        throw Error("MODEL_FORMAT", where + " is not a mapping", {{"path", where}});
    }
    Json flat = Json::object();
    flatten(json, "", 0, flat, where);
    refuseOtherKeys(flat, "MODEL.yaml", where);
    const Values values(flat, where);
    const std::string model = "model.params.", unet = model + "unet_config.params.";

    ModelConfig config;
    if (const auto kind = values.text(model + "parameterization")) {
        config.unet.prediction = *kind == "v" ? "v_prediction" : "epsilon";
    }
    if (const auto heads = values.whole(unet + "num_heads", 1, 1024)) config.unet.heads = {*heads};
    const auto width = values.whole(unet + "num_head_channels", -1, 1024);
    if (width.value_or(-1) > 0) {
        config.unet.heads.clear();
        config.unet.headWidth = width;
    }
    config.vae.scalingFactor = values.number(model + "scale_factor", 1e-6, 1e6);

    Schedule schedule;
    schedule.trainingSteps =
        values.whole(model + "timesteps", 2, 100000).value_or(schedule.trainingSteps);
    schedule.betaStart =
        values.number(model + "linear_start", 1e-9, 1).value_or(schedule.betaStart);
    schedule.betaEnd = values.number(model + "linear_end", 1e-9, 1).value_or(schedule.betaEnd);
    config.schedule = schedule;
    return config;
}

} // namespace magicmix
