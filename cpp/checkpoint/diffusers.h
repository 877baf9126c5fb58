#pragma once

#include "base/cancellation.h"
#include "checkpoint/names.h"
#include "checkpoint/stored_tensor.h"
#include "model/model_config.h"

namespace magicmix {

/// The contents of a diffusers folder, under diffusers' own names.
struct DiffusersFolder {
    StoredTensors unet, vae, textEncoder, textEncoder2;
    ModelConfig config;
};

/// Reads model_index.json, the configurations and the weights (in one file or in shards) of
/// unet/, vae/, text_encoder/, text_encoder_2/ (of XL) and scheduler/.
/// `withVae`: not if the autoencoder comes from elsewhere.
DiffusersFolder readDiffusersFolder(const std::string &path, bool withVae,
                                    const Cancellation &cancel);

/// The autoencoder of a folder, which is its own or that of a whole model.
struct DiffusersVae {
    StoredTensors tensors;
    ModelConfig::Vae config;
};
DiffusersVae readDiffusersVae(const std::string &path, const Cancellation &cancel);

/// The levels of an autoencoder with diffusers' names.
int vaeLevels(const StoredTensors &vae);

/// The original names of the tensors of a folder; those that have none get an empty string. Covers
/// text encoders saved with and without the prefix `text_model.`.
class OriginalNames {
public:
    explicit OriginalNames(const DiffusersFolder &folder);

    std::string unet(const std::string &name) const { return unet_.original(name); }
    std::string vae(const std::string &name) const { return vae_.original(name); }
    std::string textEncoder(const std::string &name) const;

private:
    ModuleNames unet_, vae_;
};

} // namespace magicmix
