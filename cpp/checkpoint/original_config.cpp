#include "checkpoint/original_config.h"

#include "base/error.h"
#include "base/text.h"
#include "checkpoint/config_check.h"

#include <algorithm>
#include <map>

namespace magicmix {
namespace {

constexpr int kMaxDepth = 12;

bool isListOfObjects(const Json &value) {
    return value.is_array() && !value.empty() &&
           std::all_of(value.begin(), value.end(), [](const Json &one) { return one.is_object(); });
}

/// Keys with dots between them: "model.params.parameterization". Of a list of objects, as XL has
/// one of its embedders, every key has the list of its values.
void flatten(const Json &object, const std::string &prefix, int depth, Json &flat,
             const std::string &where) {
    if (depth > kMaxDepth) {
        throw Error("MODEL_FORMAT",
                    where + " is nested deeper than " + std::to_string(kMaxDepth) + " levels");
    }
    for (const auto &[key, value] : object.items()) {
        const std::string full = prefix.empty() ? key : prefix + "." + key;
        if (value.is_object()) {
            flatten(value, full, depth + 1, flat, where);
        } else if (isListOfObjects(value)) {
            for (const Json &one : value) {
                Json inside = Json::object();
                flatten(one, full, depth + 1, inside, where);
                for (const auto &[inner, each] : inside.items()) flat[inner].push_back(each);
            }
        } else {
            flat[full] = value;
        }
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
    const std::string model = "model.params.";

    ModelConfig config;
    if (const auto kind = values.text(model + "parameterization")) {
        config.unet.prediction = *kind == "v" ? "v_prediction" : "epsilon";
    }
    // XL's denoiser is made of parts.
    const std::string denoiser = model + "denoiser_config.params.";
    if (const auto kind = values.text(denoiser + "scaling_config.target")) {
        config.unet.prediction = endsWith(*kind, ".VScaling") ? "v_prediction" : "epsilon";
    }
    for (const char *network : {"unet_config.params.", "network_config.params."}) {
        const std::string unet = model + network;
        if (const auto heads = values.whole(unet + "num_heads", 1, 1024)) {
            config.unet.heads = {*heads};
        }
        const auto width = values.whole(unet + "num_head_channels", -1, 1024);
        if (width.value_or(-1) > 0) {
            config.unet.heads.clear();
            config.unet.headWidth = width;
        }
        if (const auto added = values.whole(unet + "adm_in_channels", 1, 65536)) {
            config.unet.addedWidth = added;
        }
    }
    config.vae.scalingFactor = values.number(model + "scale_factor", 1e-6, 1e6);

    Schedule schedule;
    const auto read = [&](auto &value, const auto &found) { value = found.value_or(value); };
    read(schedule.trainingSteps, values.whole(model + "timesteps", 2, 100000));
    read(schedule.trainingSteps, values.whole(denoiser + "num_idx", 2, 100000));
    for (const std::string &betas : {model, denoiser + "discretization_config.params."}) {
        read(schedule.betaStart, values.number(betas + "linear_start", 1e-9, 1));
        read(schedule.betaEnd, values.number(betas + "linear_end", 1e-9, 1));
    }
    config.schedule = schedule;
    return config;
}

} // namespace magicmix
