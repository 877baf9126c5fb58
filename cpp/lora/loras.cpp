#include "lora/loras.h"

#include "base/error.h"
#include "base/text.h"
#include "lora/made_for.h"
#include "lora/module_names.h"
#include "tensor/conversion.h"
#include "tensor/machine.h"

#include <algorithm>
#include <iterator>

namespace magicmix {
namespace {

// At most this many unknown names are listed.
constexpr std::size_t kListedNames = 3;

const std::string kWeight = ".weight", kBias = ".bias";

bool isBias(const std::string &weight) { return endsWith(weight, kBias); }

[[noreturn]] void refuse(const LoraFile &file, const std::string &why) {
    throw Error("MODEL_UNSUPPORTED", "the LoRA '" + file.path + "' " + why, {{"path", file.path}});
}

/// "'a', 'b', and 7 more"
std::string someOf(const std::vector<std::string> &names) {
    std::string text;
    for (std::size_t i = 0; i < std::min(names.size(), kListedNames); i++) {
        text += (text.empty() ? "'" : ", '") + names[i] + "'";
    }
    const std::size_t more = names.size() - std::min(names.size(), kListedNames);
    return more == 0 ? text : text + ", and " + std::to_string(more) + " more";
}

} // namespace

const std::vector<LoraChange> &Loras::Part::changesOf(const std::string &weight) const {
    const LoraModule &changed = file->modules.at(module);
    return isBias(weight) ? changed.bias : changed.weight;
}

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
    Team team = device.team(threadsToMerge(next, changed, device));
    cancel.throwIfRequested();

    // Should even going back fail, these are unlike anything: made by no file.
    version_++;
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
    for (Weights *weights : weights_) {
        if (weights->areLoaded()) makeLike(wanted, names, *weights, team, cancel);
    }
}

void Loras::makeLike(const Merged &wanted, const std::vector<std::string> &names, Weights &weights,
                     Team &team, const Cancellation &cancel) {
    const auto valuesOf = [&](const std::string &weight) {
        const auto parts = wanted.find(weight);
        return parts == wanted.end() ? base_.read(weight) : merge(weight, parts->second);
    };
    std::vector<std::string> some;
    std::copy_if(names.begin(), names.end(), std::back_inserter(some),
                 [&](const std::string &name) { return weights.has(name); });
    weights.replace(some, valuesOf, team, cancel);
}

void Loras::mergeInto(Weights &weights, const Device &device, const Cancellation &cancel) {
    const std::vector<std::string> changed = differences(merged_, {});
    if (changed.empty()) return;
    Team team = device.team(threadsToMerge(merged_, changed, device));
    makeLike(merged_, changed, weights, team, cancel);
}

/// Every thread holds a weight as f32, and as the file has it; with DoRA once more.
int Loras::threadsToMerge(const Merged &wanted, const std::vector<std::string> &names,
                          const Device &device) const {
    std::uint64_t largest = 0, copies = 2;
    for (const auto &name : names) {
        largest = std::max(largest, elementCount(base_.describe(name).shape, name));
        const auto parts = wanted.find(name);
        if (parts == wanted.end()) continue;
        for (const auto &part : parts->second) {
            for (const auto &change : part.changesOf(name)) {
                if (change.lengths) copies = 3;
            }
        }
    }
    const std::uint64_t each = copies * sizeof(float) * largest;
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
    std::vector<std::string> changeable;
    for (const Weights *weights : weights_) {
        const auto names = weights->changeableNames();
        changeable.insert(changeable.end(), names.begin(), names.end());
    }
    const auto modules = loraModules(changeable);
    for (const auto &lora : wanted) {
        const auto file = opened(loraFileAt(lora.file), cancel);
        requireEmbeddings(*file);
        planFile(file, lora.strength, modules, merged);
    }
    return merged;
}

/// They are rows of the token table, which is made when a model is loaded.
void Loras::requireEmbeddings(const LoraFile &file) const {
    for (const auto &name : file.embeddings) {
        if (std::find(embeddings_.begin(), embeddings_.end(), name) != embeddings_.end()) continue;
        refuse(file, "brings the embedding '" + name +
                         "' along, which has to be loaded with the model: name the file in the "
                         "`loras` or the `embeddings` of MagicMix.load");
    }
}

void Loras::planFile(const std::shared_ptr<const LoraFile> &file, float strength,
                     const std::map<std::string, std::string> &modules, Merged &merged) const {
    if (file->isList) {
        std::size_t places = 0;
        while (modules.count(listedModule(static_cast<int>(places))) > 0) places++;
        if (places != file->modules.size()) {
            refuse(*file, "is for another network: a list of " +
                              std::to_string(file->modules.size()) +
                              " pairs of matrices without names, while the attention of this "
                              "model has " +
                              std::to_string(places) + " linear layers");
        }
    }
    const std::string note = madeFor(*file, contextWidth(modules));
    std::vector<std::string> unknown;
    std::map<std::string, std::string> used; // names in the file by original names
    for (const auto &[name, module] : file->modules) {
        auto place = modules.find(name);
        if (place != modules.end()) {
            const auto [other, isFirst] = used.emplace(place->second, name);
            if (!isFirst) {
                throw Error("MODEL_FORMAT",
                            "the LoRA '" + file->path +
                                "' changes the same module under two names: '" + other->second +
                                "' and '" + name + "'",
                            {{"path", file->path}, {"module", name}});
            }
            planModule(file, name, place->second, strength, note, &merged);
            continue;
        }
        // Models that were made for clip skip lack the last layers of the text encoder: what is
        // meant for those has nothing to act on.
        const auto first = sameInFirstTextLayer(name);
        if (first) place = modules.find(*first);
        if (place == modules.end()) {
            unknown.push_back(name);
        } else {
            planModule(file, name, place->second, strength, note, nullptr);
        }
    }
    if (!unknown.empty()) {
        refuse(*file, "is for another network" + note + ": of its " +
                          std::to_string(file->modules.size()) + " modules this model has no " +
                          someOf(unknown));
    }
    if (used.empty()) {
        refuse(*file, "is for layers of the text encoder that this model lacks, and nothing else");
    }
}

/// The width of the text states that the model's cross-attention takes; 0 if it has none.
std::int64_t Loras::contextWidth(const std::map<std::string, std::string> &modules) const {
    for (const auto &[name, place] : modules) {
        if (endsWith(name, "attn2.to_k")) return base_.describe(place + kWeight).shape.back();
    }
    return 0;
}

/// Checks what a file changes of the module that is called `place` here, and adds it to `merged`
/// if that is not null.
void Loras::planModule(const std::shared_ptr<const LoraFile> &file, const std::string &module,
                       const std::string &place, float strength, const std::string &note,
                       Merged *merged) const {
    const LoraModule &changed = file->modules.at(module);
    const auto plan = [&](const std::vector<LoraChange> &changes, const std::string &weight) {
        if (changes.empty()) return;
        const bool has = std::any_of(weights_.begin(), weights_.end(),
                                     [&](const Weights *each) { return each->has(weight); });
        if (!has) {
            refuse(*file, "is for another network" + note + ": '" +
                              changes[0].tensors().front()->name +
                              "' is for a bias that this model has not");
        }
        const auto shape = base_.describe(weight).shape;
        for (const auto &change : changes) checkFit(change, shape, file->path, note);
        if (merged && strength != 0) (*merged)[weight].push_back({file, module, strength});
    };
    plan(changed.weight, place + kWeight);
    plan(changed.bias, place + kBias);
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
        for (const auto &change : part.changesOf(weight)) {
            addChange(change, part.strength, base, sum);
        }
    }
    return WeightSource::Values::owning(base.shape, std::move(sum));
}

} // namespace magicmix
