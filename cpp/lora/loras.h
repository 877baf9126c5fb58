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
    /// `weights`: all of the model's, by the device on which they lie.
    Loras(const Checkpoint &base, std::vector<Weights *> weights)
        : base_(base), weights_(std::move(weights)) {}

    /// Makes the weights those of the checkpoint with `wanted` on top, and with nothing else, on
    /// as many of the device's threads as there is memory for. Throws what `LoraFile::open` throws,
    /// `MODEL_UNSUPPORTED` if a file is for another network, what `Checkpoint::requireUnchanged`
    /// throws, and `OUT_OF_MEMORY`, all before anything is touched. If it is cancelled on the way,
    /// the weights are made again what they were.
    void use(const std::vector<Lora> &wanted, const Device &device, const Cancellation &cancel);

private:
    struct Part {
        std::shared_ptr<const LoraFile> file;
        std::string module;
        float strength = 1;

        bool operator==(const Part &other) const {
            return file == other.file && module == other.module && strength == other.strength;
        }
    };
    /// The parts merged into every weight that differs from the checkpoint.
    using Merged = std::map<std::string, std::vector<Part>>;

    static std::vector<std::string> differences(const Merged &a, const Merged &b);
    Merged plan(const std::vector<Lora> &wanted, const Cancellation &cancel) const;
    std::shared_ptr<const LoraFile> opened(const std::string &path,
                                           const Cancellation &cancel) const;
    void makeLike(const Merged &wanted, const std::vector<std::string> &names, Team &team,
                  const Cancellation &cancel);
    int threadsToMerge(const std::vector<std::string> &names, const Device &device) const;
    WeightSource::Values merge(const std::string &weight, const std::vector<Part> &parts) const;

    const Checkpoint &base_;
    std::vector<Weights *> weights_;
    Merged merged_;
};

} // namespace magicmix
