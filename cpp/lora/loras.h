#pragma once

#include "base/cancellation.h"
#include "checkpoint/checkpoint.h"
#include "lora/lora.h"
#include "lora/lora_file.h"
#include "tensor/weights.h"

namespace magicmix {

/// The LoRAs of a loaded model. They are merged into the weights where these lie, so that a step
/// takes no longer with them; weights without a LoRA are read again from the checkpoint, so that
/// nothing of it is left.
class Loras {
public:
    /// `weights`: all of the model's; those that are not in memory get their changes by
    /// `mergeInto`. `embeddings`: what stands for learnt tokens in prompts.
    Loras(const Checkpoint &base, std::vector<Weights *> weights,
          std::vector<std::string> embeddings)
        : base_(base), weights_(std::move(weights)), embeddings_(std::move(embeddings)) {}

    /// Makes the weights those of the checkpoint with `wanted` on top, and with nothing else, on
    /// as many of the device's threads as there is memory for. Throws what `LoraFile::open` throws,
    /// `MODEL_UNSUPPORTED` if a file is for another network or brings embeddings along that were
    /// not loaded, what `Checkpoint::requireUnchanged`
    /// throws, and `OUT_OF_MEMORY`, all before anything is touched. If it is cancelled on the way,
    /// the weights are made again what they were.
    void use(const std::vector<Lora> &wanted, const Device &device, const Cancellation &cancel);

    /// Changes weights that were read from the checkpoint again as all others are.
    void mergeInto(Weights &weights, const Device &device, const Cancellation &cancel);

    /// Another number after every change of the weights.
    int version() const { return version_; }

private:
    struct Part {
        std::shared_ptr<const LoraFile> file;
        std::string module; ///< in the file
        float strength = 1;

        const std::vector<LoraChange> &changesOf(const std::string &weight) const;
        bool operator==(const Part &other) const {
            return file == other.file && module == other.module && strength == other.strength;
        }
    };
    /// The parts merged into every weight that differs from the checkpoint.
    using Merged = std::map<std::string, std::vector<Part>>;

    static std::vector<std::string> differences(const Merged &a, const Merged &b);
    Merged plan(const std::vector<Lora> &wanted, const Cancellation &cancel) const;
    void planFile(const std::shared_ptr<const LoraFile> &file, float strength,
                  const std::map<std::string, std::string> &modules, Merged &merged) const;
    void planModule(const std::shared_ptr<const LoraFile> &file, const std::string &module,
                    const std::string &place, float strength, const std::string &note,
                    Merged *merged) const;
    std::int64_t contextWidth(const std::map<std::string, std::string> &modules) const;
    void requireEmbeddings(const LoraFile &file) const;
    std::shared_ptr<const LoraFile> opened(const std::string &path,
                                           const Cancellation &cancel) const;
    void makeLike(const Merged &wanted, const std::vector<std::string> &names, Team &team,
                  const Cancellation &cancel);
    void makeLike(const Merged &wanted, const std::vector<std::string> &names, Weights &weights,
                  Team &team, const Cancellation &cancel);
    int threadsToMerge(const Merged &wanted, const std::vector<std::string> &names,
                       const Device &device) const;
    WeightSource::Values merge(const std::string &weight, const std::vector<Part> &parts) const;

    const Checkpoint &base_;
    std::vector<Weights *> weights_;
    std::vector<std::string> embeddings_;
    Merged merged_;
    int version_ = 0;
};

} // namespace magicmix
