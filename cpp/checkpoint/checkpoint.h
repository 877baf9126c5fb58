#pragma once

#include "base/cancellation.h"
#include "checkpoint/stored_tensor.h"
#include "model/model_config.h"
#include "tensor/weights.h"

#include <set>

namespace magicmix {

/// A model on disk: named tensors in the original Stable Diffusion naming, wherever they lie.
class Checkpoint final : public WeightSource {
public:
    /// `path` is a file of a format that is read, with original names, or a diffusers folder.
    /// Throws `MODEL_NOT_FOUND`, `MODEL_FORMAT` or `MODEL_UNSUPPORTED`.
    static Checkpoint open(const std::string &path, const Cancellation &cancel);

    const std::string &path() const { return path_; }
    const std::string &format() const {
        return format_;
    } ///< "safetensors", "ckpt", "gguf" or "diffusers"
    const ModelConfig &config() const { return config_; }
    /// By original name.
    const StoredTensors &tensors() const { return tensors_; }
    /// Names in the file that have no place in the original naming.
    const std::vector<std::string> &unknown() const { return unknown_; }
    std::uint64_t fileBytes() const;

    /// Throws `MODEL_FORMAT` if a whole network is missing, and says which.
    void requireAllNetworks() const;

    /// Throws if a file is gone or has changed: what is read now would be of another model.
    void requireUnchanged() const;

    bool hasAny(const std::string &prefix) const override;
    Description describe(const std::string &name) const override;
    Values read(const std::string &name) const override;
    void release(const std::string &) const override {}

private:
    Checkpoint() = default;
    void dropUnusedTextLayer(bool openClip);
    std::set<const InputFile *> files() const;
    const StoredTensor &tensor(const std::string &name) const;

    std::string path_, format_;
    ModelConfig config_;
    StoredTensors tensors_;
    std::vector<std::string> unknown_;
};

} // namespace magicmix
