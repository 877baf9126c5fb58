#pragma once

#include "base/cancellation.h"
#include "checkpoint/stored_tensor.h"
#include "model/architecture.h"
#include "model/model_config.h"
#include "tensor/weights.h"

#include <set>

namespace magicmix {

/// Where a model is read from.
struct ModelFiles {
    std::string model;       ///< a file of a format that is read, with original names, or a folder
    std::string vae;         ///< where the autoencoder is taken from instead (vae_file.h), or ""
    std::string tinyDecoder; ///< where one is taken from (tiny_decoder_file.h), or ""
    std::string originalConfig; ///< JSON text of the .yaml beside a file (original_config.h), or ""
};

/// A model on disk: named tensors in the original Stable Diffusion naming, wherever they lie.
class Checkpoint final : public WeightSource {
public:
    /// Throws `MODEL_NOT_FOUND`, `MODEL_FORMAT` or `MODEL_UNSUPPORTED`.
    static Checkpoint open(const ModelFiles &files, const Cancellation &cancel);

    const std::string &path() const { return path_; }
    const std::string &format() const {
        return format_;
    } ///< "safetensors", "ckpt", "gguf" or "diffusers"
    /// "" if there is no tiny decoder.
    const std::string &tinyDecoderPath() const { return tinyDecoderPath_; }
    const ModelConfig &config() const { return config_; }
    /// By original name.
    const StoredTensors &tensors() const { return tensors_; }
    /// Names in the files that mixing has no use for.
    const std::vector<std::string> &unknown() const { return unknown_; }
    std::uint64_t fileBytes() const;

    /// Are all networks there?
    bool isWhole() const;
    /// Throws `MODEL_FORMAT` if a whole network is missing, and says which.
    void requireAllNetworks() const;

    /// Throws `MODEL_UNSUPPORTED` if the files have tensors of these networks that are not among
    /// those `used`: a network of another kind, which would compute something else. What lies
    /// behind the layer from which text states are taken may be left.
    void requireNothingLeft(const std::set<std::string> &used,
                            const Architecture &architecture) const;

    /// Throws if a file is gone or has changed: what is read now would be of another model.
    void requireUnchanged() const;

    bool hasAny(const std::string &prefix) const override;
    Description describe(const std::string &name) const override;
    Values read(const std::string &name) const override;

private:
    struct Missing {
        const char *prefix, *network;
    };

    Checkpoint() = default;
    std::vector<Missing> missingNetworks() const;
    void readFolder(bool withVae, const Cancellation &cancel);
    void readFile(const Cancellation &cancel);
    void add(const std::string &name, std::string original, StoredTensor tensor);
    void dropUnusedTextLayer(bool openClip);
    void addTinyDecoder(const std::string &path, const Cancellation &cancel);
    void replaceVae(const std::string &path, const Cancellation &cancel);
    std::set<const InputFile *> files() const;
    const StoredTensor &tensor(const std::string &name) const;

    std::string path_, format_, tinyDecoderPath_;
    ModelConfig config_;
    StoredTensors tensors_;
    std::vector<std::string> unknown_;
    std::vector<std::string> leftover_; ///< of networks in use, without a place in them
};

} // namespace magicmix
