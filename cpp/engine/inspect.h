#pragma once

#include "base/cancellation.h"
#include "checkpoint/checkpoint.h"
#include "embeddings/embedding.h"
#include "model/model_config.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace magicmix {

class Networks;

/// The tiny decoder beside a model, in the shape that users see.
struct TinyDecoderInfo {
    std::string path;
    std::string hash; ///< of its weights (weights_hash.h)
    std::uint64_t parameters = 0;
    std::vector<int> channels; ///< by level, from fine to coarse
};

/// The description of a model, in the shape that users see.
struct ModelInfo {
    std::string path;
    std::string format; ///< "safetensors", "ckpt", "gguf" or "diffusers"
    std::string family; ///< "sd1", "sd2" or "sdxl"
    /// Prediction type of the UNet: "epsilon" or "v_prediction"; "unknown" only in an `Inspection`,
    /// where only running it could detect that.
    std::string prediction;
    std::string device; ///< id of the device in use
    struct Placement {  ///< ids of the devices on which the parts lie
        std::string textEncoder, unet, vae;
    } placement;
    std::string precision; ///< type of the large weights
    /// The kernels of our own by which they are multiplied, or "ggml".
    std::string kernels;
    struct Hashes { ///< of the weights (weights_hash.h)
        std::string textEncoder, unet, vae;
    } hashes;
    int threads = 0; ///< CPU threads in use
    struct Parameters {
        std::uint64_t total = 0, textEncoder = 0, unet = 0, vae = 0;
    } parameters;
    int nativeSize = 0; ///< side of the pictures that it was trained on, in pixels
    struct Sizes {
        struct TextEncoder {
            int width = 0, heads = 0;
            int layers = 0;     ///< that its states have passed
            int vocabulary = 0; ///< how many token ids there are, those of embeddings included
            int padding = 0;    ///< id behind the end of a prompt
        };
        std::vector<TextEncoder> textEncoders; ///< one, or two whose states stand side by side
        struct Unet {
            std::vector<int> channels; ///< by level, from fine to coarse
            std::vector<int> heads;    ///< by level
            int layersPerLevel = 0, contextWidth = 0, normGroups = 0;
        } unet;
        struct Vae {
            std::vector<int> channels; ///< by level, from fine to coarse
            int normGroups = 0;
            double scalingFactor = 0;
        } vae;
    } sizes;
    std::optional<TinyDecoderInfo> tinyDecoder; ///< beside the autoencoder, if it was asked for
    std::vector<Embedding> embeddings;          ///< in the order in which they were asked for
    struct Memory {
        std::uint64_t weights = 0;      ///< bytes that all weights take on their devices
        std::uint64_t textEncoders = 0; ///< of these, those of the text encoders
    } memory;
};

struct TensorInfo {
    std::string name; ///< in the original Stable Diffusion naming
    std::string type; ///< "F32", "F16", "BF16", "Q4_K", ...
    std::vector<std::int64_t> shape;
    std::uint64_t bytes = 0;
    std::string file;
};

/// The description of a checkpoint, without loading its weights.
struct Inspection {
    std::string path, format, family;
    std::uint64_t fileBytes = 0;
    std::vector<TensorInfo> tensors;  ///< those that mixing uses
    std::vector<std::string> ignored; ///< names of tensors in the file that mixing does not use
    std::optional<ModelInfo> model;   ///< set if everything that mixing needs is there
    std::string problem;              ///< why `model` is not set
    std::uint64_t workingBytes = 0;   ///< memory of a mix of its native size, beside the weights
};

/// Reads the headers of a checkpoint.
/// Throws `MODEL_NOT_FOUND` and `MODEL_FORMAT`.
Inspection inspect(const ModelFiles &files, const ModelConfig &config, const Cancellation &cancel);
/// The same of one that is open.
Inspection inspect(const Checkpoint &checkpoint, const ModelConfig &config);

/// Describes networks whose weights are declared, and perhaps loaded.
ModelInfo describe(const Checkpoint &checkpoint, const Networks &networks);

} // namespace magicmix
