#include "lora/lora_file.h"

#include "base/error.h"
#include "base/text.h"
#include "checkpoint/json.h"
#include "checkpoint/model_file.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

namespace magicmix {
namespace {

enum class Role { Down, Up, Mid, Alpha };

struct Ending {
    const char *text;
    Role role;
};
// How kohya's scripts, PEFT and diffusers through the years end the names of tensors.
constexpr Ending kEndings[] = {
    {".lora_down.weight", Role::Down},
    {".lora_up.weight", Role::Up},
    {".lora_mid.weight", Role::Mid},
    {".alpha", Role::Alpha},
    {".lora_A.weight", Role::Down},
    {".lora_B.weight", Role::Up},
    {".lora_A.default.weight", Role::Down},
    {".lora_B.default.weight", Role::Up},
    {".lora_linear_layer.down.weight", Role::Down},
    {".lora_linear_layer.up.weight", Role::Up},
    {".lora.down.weight", Role::Down},
    {".lora.up.weight", Role::Up},
    {"_lora.down.weight", Role::Down},
    {"_lora.up.weight", Role::Up},
};

// Methods that are called LoRA as well, by a part of the names that only they have.
constexpr std::pair<const char *, const char *> kOtherMethods[] = {
    {".hada_", "LoHa"},         {".lokr_", "LoKr"},   {"dora_scale", "DoRA"},
    {"lora_magnitude", "DoRA"}, {".oft_", "OFT"},     {".boft_", "BOFT"},
    {".diff", "whole weights"}, {".on_input", "IA3"}, {".ia3_l", "IA3"},
    {".glora_", "GLoRA"},
};

/// A module's name without what some tools put around it.
std::string normalised(std::string module) {
    const auto drop = [&](const std::string &part) {
        const auto at = module.find(part);
        if (at != std::string::npos) module.erase(at, part.size());
    };
    if (startsWith(module, "lora_")) return module; // kohya
    drop("base_model.model.");
    drop(".processor");
    if (endsWith(module, ".to_out")) module += ".0";
    for (const char *block : {"down_blocks.", "mid_block.", "up_blocks."}) {
        if (startsWith(module, block)) return "unet." + module;
    }
    return startsWith(module, "text_model.") ? "text_encoder." + module : module;
}

std::optional<std::pair<std::string, Role>> parseName(const std::string &name) {
    for (const auto &[text, role] : kEndings) {
        if (!endsWith(name, text) || name == text) continue;
        const std::string module = name.substr(0, name.size() - std::string(text).size());
        return std::pair(normalised(module), role);
    }
    return std::nullopt;
}

[[noreturn]] void refuse(const std::string &path, const std::string &name) {
    for (const auto &[part, method] : kOtherMethods) {
        if (name.find(part) == std::string::npos) continue;
        throw Error("MODEL_UNSUPPORTED",
                    "'" + path + "' holds " + method + " (tensor '" + name +
                        "'); LoRA and LoCon can be used",
                    {{"path", path}, {"tensor", name}});
    }
    throw Error("MODEL_UNSUPPORTED",
                "'" + path + "' has the tensor '" + name + "', which no LoRA has",
                {{"path", path}, {"tensor", name}});
}

/// What newer versions of diffusers note of the configuration with which PEFT trained: for every
/// part of the model ("unet", "text_encoder") an alpha, and others for single modules.
class PeftNotes {
public:
    explicit PeftNotes(const ModelFile &file, const std::string &path) {
        const auto text = file.metadata.find("lora_adapter_metadata");
        if (text == file.metadata.end()) return;
        const std::string where = "lora_adapter_metadata of '" + path + "'";
        notes_ = parseJson(text->second.data(), text->second.size(), where);
        if (!notes_.is_object()) notes_ = Json::object();
        for (const char *part : {"unet", "text_encoder"}) {
            const auto flag = notes_.find(std::string(part) + ".use_rslora");
            if (flag == notes_.end() || *flag != true) continue;
            throw Error("MODEL_UNSUPPORTED",
                        "'" + path + "' holds a rank-stabilised LoRA; LoRA and LoCon can be used",
                        {{"path", path}});
        }
    }

    std::optional<double> alphaOf(const std::string &module) const {
        const std::string part = module.substr(0, module.find('.'));
        const auto patterns = notes_.find(part + ".alpha_pattern");
        if (patterns != notes_.end() && patterns->is_object()) {
            for (const auto &[pattern, alpha] : patterns->items()) {
                if (alpha.is_number() && endsWith(module, "." + pattern)) {
                    return alpha.get<double>();
                }
            }
        }
        const auto alpha = notes_.find(part + ".lora_alpha");
        if (alpha == notes_.end() || !alpha->is_number()) return std::nullopt;
        return alpha->get<double>();
    }

private:
    Json notes_ = Json::object();
};

} // namespace

std::shared_ptr<const LoraFile> LoraFile::open(const std::string &path,
                                               const Cancellation &cancel) {
    struct Found {
        std::shared_ptr<StoredTensor> parts[4];
    };
    std::map<std::string, Found> modules;
    const ModelFile stored = readModelFile(path, cancel);
    const PeftNotes notes(stored, path);
    for (const auto &[name, tensor] : stored.tensors) {
        const auto parsed = parseName(name);
        if (!parsed) refuse(path, name);
        auto &part = modules[parsed->first].parts[static_cast<int>(parsed->second)];
        if (part) {
            throw Error("MODEL_FORMAT",
                        "'" + path + "' has two tensors for the same thing: '" + part->name +
                            "' and '" + name + "'",
                        {{"path", path}, {"tensor", name}});
        }
        part = std::make_shared<StoredTensor>(tensor);
    }

    auto file = std::make_shared<LoraFile>();
    file->path = path;
    for (auto &[module, found] : modules) {
        const auto part = [&parts = found.parts](Role role) {
            return parts[static_cast<int>(role)];
        };
        if (!part(Role::Down) || !part(Role::Up)) {
            throw Error("MODEL_FORMAT",
                        "'" + path + "' has only one of the two matrices of '" + module + "'",
                        {{"path", path}, {"module", module}});
        }
        file->modules.emplace(module,
                              LoraModule{*part(Role::Down), *part(Role::Up), part(Role::Mid),
                                         part(Role::Alpha), notes.alphaOf(module)});
    }
    if (file->modules.empty()) {
        throw Error("MODEL_FORMAT", "'" + path + "' has no tensors", {{"path", path}});
    }
    return file;
}

} // namespace magicmix
