#pragma once

#include "base/cancellation.h"
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
    Loras(const WeightSource &base, std::vector<Weights *> weights)
        : base_(base), weights_(std::move(weights)) {}

    /// Makes the weights those of the checkpoint with `wanted` on top, and with nothing else.
    /// Throws what `LoraFile::open` throws, and `MODEL_UNSUPPORTED` if a file is for another
    /// network. However it ends, the next call puts everything right.
    void use(const std::vector<Lora> &wanted, int threads, const Cancellation &cancel);

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

    Merged plan(const std::vector<Lora> &wanted) const;
    std::shared_ptr<const LoraFile> opened(const std::string &path) const;
    WeightSource::Values merge(const std::string &weight, const std::vector<Part> &parts) const;

    const WeightSource &base_;
    std::vector<Weights *> weights_;
    Merged merged_;
};

} // namespace magicmix
