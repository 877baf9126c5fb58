#include "lora/lora_file.h"

#include "base/error.h"
#include "base/text.h"
#include "checkpoint/bundled_embeddings.h"
#include "checkpoint/model_file.h"
#include "lora/module_names.h"
#include "lora/modules.h"
#include "lora/peft_config.h"
#include "lora/tensor_names.h"

#include <algorithm>

namespace magicmix {
namespace {

namespace fs = std::filesystem;

// Those of diffusers and of PEFT.
constexpr const char *kFilesInFolders[] = {"pytorch_lora_weights.safetensors",
                                           "pytorch_lora_weights.bin", "adapter_model.safetensors",
                                           "adapter_model.bin"};
constexpr const char *kPeftConfig = "adapter_config.json";

/// "0", "1", ...: what torch.save makes of a list.
bool isListed(const std::string &name) {
    constexpr std::size_t mostDigits = 6;
    return !name.empty() && name.size() <= mostDigits &&
           std::all_of(name.begin(), name.end(), [](char c) { return c >= '0' && c <= '9'; });
}

bool isNamelessList(const StoredTensors &tensors) {
    return !tensors.empty() && std::all_of(tensors.begin(), tensors.end(),
                                           [](const auto &entry) { return isListed(entry.first); });
}

/// The oldest trainers save up and down of every module in turns.
LoraTensorName placeInList(const std::string &name) {
    const int index = std::stoi(name);
    return {listedModule(index / 2), index % 2 == 0 ? LoraPart::Up : LoraPart::Down};
}

std::map<std::string, LoraParts> partsOf(const StoredTensors &tensors, const std::string &path) {
    std::map<std::string, LoraParts> modules;
    const bool list = isNamelessList(tensors);
    for (const auto &[name, tensor] : tensors) {
        if (isOfBundledEmbedding(name)) continue;
        const LoraTensorName parsed = list ? placeInList(name) : parseLoraTensor(name, path);
        auto &part = modules[parsed.module][parsed.part];
        if (part) {
            throw Error("MODEL_FORMAT",
                        "'" + path + "' has two tensors for the same thing: '" + part->name +
                            "' and '" + name + "'",
                        {{"path", path}, {"tensor", name}});
        }
        part = std::make_shared<StoredTensor>(tensor);
    }
    return modules;
}

/// The path of PEFT's configuration, which lies beside an adapter; empty if this is none, or has
/// none.
std::string configBeside(const StoredTensors &tensors, const std::string &path) {
    const fs::path file = fs::u8path(path);
    const bool adapter = file.stem() == "adapter_model" ||
                         std::any_of(tensors.begin(), tensors.end(), [](const auto &entry) {
                             return isOfPeftAdapter(entry.first);
                         });
    const fs::path config = file.parent_path() / kPeftConfig;
    std::error_code none;
    return adapter && fs::exists(config, none) ? config.u8string() : "";
}

std::optional<fs::file_time_type> timeOf(const std::string &path) {
    std::error_code failed;
    const auto time = fs::last_write_time(fs::u8path(path), failed);
    return failed ? std::nullopt : std::optional(time);
}

} // namespace

std::shared_ptr<const LoraFile> LoraFile::open(const std::string &path,
                                               const Cancellation &cancel) {
    const ModelFile stored = readModelFile(path, cancel);
    auto file = std::make_shared<LoraFile>();
    file->path = path;
    file->embeddings = bundledEmbeddings(stored.tensors, path);
    const auto modules = partsOf(stored.tensors, path);
    if (modules.empty()) {
        throw Error("MODEL_FORMAT", "'" + path + "' has no tensors of a LoRA", {{"path", path}});
    }
    file->isList = isNamelessList(stored.tensors);
    file->file_ = stored.tensors.begin()->second.file;
    file->configPath_ = configBeside(stored.tensors, path);
    file->configWritten_ = timeOf(file->configPath_);
    const PeftConfig config = file->configPath_.empty() ? PeftConfig::fromMetadata(stored, path)
                                                        : PeftConfig::fromFile(file->configPath_);
    for (const auto &[name, parts] : modules) {
        cancel.throwIfRequested();
        file->modules.emplace(name, moduleOf(name, parts, config, path));
    }
    return file;
}

bool LoraFile::isReplaced() const {
    return (file_ && file_->isReplaced()) || timeOf(configPath_) != configWritten_;
}

std::string loraFileAt(const std::string &path) {
    const fs::path folder = fs::u8path(path);
    std::error_code none;
    if (!fs::is_directory(folder, none)) return path;
    std::string wanted, found;
    for (const char *name : kFilesInFolders) {
        wanted += (wanted.empty() ? "" : ", ") + std::string(name);
        if (!fs::exists(folder / name, none)) continue;
        if (!found.empty()) {
            throw Error("MODEL_UNSUPPORTED",
                        "the folder '" + path + "' has two LoRAs, '" + found + "' and '" + name +
                            "'; name one of the files",
                        {{"path", path}});
        }
        found = name;
    }
    if (!found.empty()) return (folder / found).u8string();
    throw Error("MODEL_NOT_FOUND",
                "the folder '" + path + "' has no LoRA: none of " + wanted + " is in it",
                {{"path", path}});
}

} // namespace magicmix
