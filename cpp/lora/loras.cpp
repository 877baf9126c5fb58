#include "lora/loras.h"

#include "lora/low_rank.h"
#include "lora/module_names.h"
#include "tensor/conversion.h"

#include <algorithm>
#include <iterator>

namespace magicmix {
namespace {

// At most this many unknown names are listed.
constexpr std::size_t kListedNames = 3;

} // namespace

void Loras::use(const std::vector<Lora> &wanted, int threads, const Cancellation &cancel) {
    if (wanted.empty() && merged_.empty()) return;
    Merged next = plan(wanted);
    std::vector<std::string> changed;
    for (const auto &[weight, parts] : next) {
        const auto now = merged_.find(weight);
        if (now == merged_.end() || now->second != parts) changed.push_back(weight);
    }
    for (const auto &[weight, parts] : merged_) {
        if (next.find(weight) == next.end()) changed.push_back(weight);
    }

    // Should this end half way, these are unlike anything: made by no file.
    for (const auto &weight : changed) merged_[weight] = {Part{}};
    const auto valuesOf = [&](const std::string &weight) {
        const auto parts = next.find(weight);
        return parts == next.end() ? base_.read(weight) : merge(weight, parts->second);
    };
    for (Weights *weights : weights_) {
        std::vector<std::string> names;
        std::copy_if(changed.begin(), changed.end(), std::back_inserter(names),
                     [&](const std::string &name) { return weights->has(name); });
        weights->replace(names, valuesOf, threads, cancel);
    }
    merged_ = std::move(next);
}

Loras::Merged Loras::plan(const std::vector<Lora> &wanted) const {
    Merged merged;
    if (wanted.empty()) return merged;
    std::vector<std::string> factors;
    for (const Weights *weights : weights_) {
        const auto names = weights->factorNames();
        factors.insert(factors.end(), names.begin(), names.end());
    }
    const auto modules = loraModules(factors);
    for (const auto &lora : wanted) {
        const auto file = opened(lora.file);
        std::string unsupported;
        std::size_t unsupportedCount = 0;
        for (const auto &[name, module] : file->modules) {
            const auto weight = modules.find(name);
            if (weight == modules.end()) {
                if (unsupportedCount++ < kListedNames) {
                    unsupported += (unsupported.empty() ? "'" : ", '") + name + "'";
                }
                continue;
            }
            checkFit(module, base_.read(weight->second).shape, file->path);
            if (lora.strength != 0) {
                merged[weight->second].push_back({file, name, lora.strength});
            }
        }
        if (unsupportedCount > 0) {
            throw Error("MODEL_UNSUPPORTED",
                        "the LoRA '" + file->path + "' is for another network: this model has no " +
                            unsupported +
                            (unsupportedCount > kListedNames
                                 ? ", and " + std::to_string(unsupportedCount - kListedNames) +
                                       " more of its " + std::to_string(file->modules.size()) +
                                       " modules"
                                 : ""),
                        {{"path", file->path}});
        }
    }
    return merged;
}

/// A file that is in use is not opened again.
std::shared_ptr<const LoraFile> Loras::opened(const std::string &path) const {
    for (const auto &[weight, parts] : merged_) {
        for (const auto &part : parts) {
            if (part.file && part.file->path == path) return part.file;
        }
    }
    return LoraFile::open(path);
}

WeightSource::Values Loras::merge(const std::string &weight, const std::vector<Part> &parts) const {
    const WeightSource::Values base = base_.read(weight);
    auto sum = std::make_shared<std::vector<float>>(elementCount(base.shape, weight));
    toFloats(base.type, base.data, 0, sum->size(), sum->data());
    for (const auto &part : parts) {
        addLowRank(part.file->modules.at(part.module), part.strength, *sum);
    }
    WeightSource::Values values;
    values.type = GGML_TYPE_F32;
    values.shape = base.shape;
    values.data = reinterpret_cast<const std::byte *>(sum->data());
    values.bytes = sum->size() * sizeof(float);
    values.owner = sum;
    return values;
}

} // namespace magicmix
