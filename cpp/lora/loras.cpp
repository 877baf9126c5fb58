#include "lora/loras.h"

#include "lora/low_rank.h"
#include "lora/module_names.h"
#include "tensor/conversion.h"
#include "tensor/machine.h"

#include <algorithm>
#include <iterator>

namespace magicmix {
namespace {

// At most this many unknown names are listed.
constexpr std::size_t kListedNames = 3;

} // namespace

/// The weights that are not the same in both.
std::vector<std::string> Loras::differences(const Merged &a, const Merged &b) {
    std::vector<std::string> names;
    for (const auto &[weight, parts] : a) {
        const auto other = b.find(weight);
        if (other == b.end() || other->second != parts) names.push_back(weight);
    }
    for (const auto &[weight, parts] : b) {
        if (a.find(weight) == a.end()) names.push_back(weight);
    }
    return names;
}

void Loras::use(const std::vector<Lora> &wanted, const Device &device, const Cancellation &cancel) {
    if (wanted.empty() && merged_.empty()) return;
    Merged next = plan(wanted, cancel);
    const std::vector<std::string> changed = differences(next, merged_);
    if (changed.empty()) return;
    base_.requireUnchanged();
    Team team = device.team(threadsToMerge(changed, device));
    cancel.throwIfRequested();

    // Should even going back fail, these are unlike anything: made by no file.
    const Merged before = merged_;
    for (const auto &weight : changed) merged_[weight] = {Part{}};
    try {
        makeLike(next, changed, team, cancel);
    } catch (...) {
        const Cancellation never;
        makeLike(before, changed, team, never);
        merged_ = before;
        throw;
    }
    merged_ = std::move(next);
}

void Loras::makeLike(const Merged &wanted, const std::vector<std::string> &names, Team &team,
                     const Cancellation &cancel) {
    const auto valuesOf = [&](const std::string &weight) {
        const auto parts = wanted.find(weight);
        return parts == wanted.end() ? base_.read(weight) : merge(weight, parts->second);
    };
    for (Weights *weights : weights_) {
        std::vector<std::string> some;
        std::copy_if(names.begin(), names.end(), std::back_inserter(some),
                     [&](const std::string &name) { return weights->has(name); });
        weights->replace(some, valuesOf, team, cancel);
    }
}

/// Every thread holds a weight as f32, and as the file has it.
int Loras::threadsToMerge(const std::vector<std::string> &names, const Device &device) const {
    std::uint64_t largest = 0;
    for (const auto &name : names) {
        largest = std::max(largest, elementCount(base_.describe(name).shape, name));
    }
    const std::uint64_t each = 2 * sizeof(float) * largest;
    const std::uint64_t free = machineShare().memory;
    if (free == 0) return device.threads();
    if (each <= free) {
        return static_cast<int>(
            std::min(static_cast<std::uint64_t>(device.threads()), free / each));
    }
    throw Error("OUT_OF_MEMORY",
                "merging LoRAs needs " + std::to_string(each / 1048576) + " MiB, but only " +
                    std::to_string(free / 1048576) + " MiB are free",
                {{"neededBytes", static_cast<double>(each)},
                 {"freeBytes", static_cast<double>(free)},
                 {"device", std::string("cpu")}});
}

Loras::Merged Loras::plan(const std::vector<Lora> &wanted, const Cancellation &cancel) const {
    Merged merged;
    if (wanted.empty()) return merged;
    std::vector<std::string> factors;
    for (const Weights *weights : weights_) {
        const auto names = weights->factorNames();
        factors.insert(factors.end(), names.begin(), names.end());
    }
    const auto modules = loraModules(factors);
    for (const auto &lora : wanted) {
        const auto file = opened(lora.file, cancel);
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
            checkFit(module, base_.describe(weight->second).shape, file->path);
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

/// A file that is in use is not opened again, unless it was rewritten meanwhile.
std::shared_ptr<const LoraFile> Loras::opened(const std::string &path,
                                              const Cancellation &cancel) const {
    for (const auto &[weight, parts] : merged_) {
        for (const auto &part : parts) {
            if (part.file && part.file->path == path && !part.file->isReplaced()) return part.file;
        }
    }
    return LoraFile::open(path, cancel);
}

WeightSource::Values Loras::merge(const std::string &weight, const std::vector<Part> &parts) const {
    const WeightSource::Values base = base_.read(weight);
    std::vector<float> sum(elementCount(base.shape, weight));
    toFloats(base.type, base.data.get(), 0, sum.size(), sum.data());
    for (const auto &part : parts) {
        addLowRank(part.file->modules.at(part.module), part.strength, sum);
    }
    return WeightSource::Values::owning(base.shape, std::move(sum));
}

} // namespace magicmix
