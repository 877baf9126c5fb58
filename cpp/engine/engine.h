#pragma once

#include "base/cancellation.h"
#include "base/error.h"
#include "base/latent.h"
#include "base/progress.h"
#include "base/tokens.h"
#include "convert/convert.h"
#include "diffusion/random.h"
#include "diffusion/schedule.h"
#include "embeddings/embedding.h"
#include "lora/lora.h"
#include "mix/attention.h"
#include "model/config.h"
#include "model/stage_values.h"
#include "tensor/backends.h"
#include "tensor/device.h"
#include "tensor/preflight.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

/// The one header that the binding includes: what the engine can do, in plain values.
///
/// Threads: an `Engine` is used by one thread at a time; several engines are independent. Functions
/// that are not members may be called from any thread. Every function may throw `Error`; those that
/// take a `Cancellation` may throw `Cancelled`.
///
/// Shapes are torch order: latents `[4, height/8, width/8]`, pictures interleaved RGB
/// `[height, width, 3]`, token ids `[77]` with BOS at 0.
namespace magicmix {

// ---------------------------------------------------------------------------------------------
// Models

struct LoadOptions {
    std::string model; ///< a file of any format that is read, or a folder
    std::vector<EmbeddingFile> embeddings;
    std::string device = "cpu"; ///< an id of `listDevices`
    bool textEncoderOnCpu = false, vaeOnCpu = false;
    std::string precision = "auto"; ///< "auto", "f32", "f16", "bf16": type of the large weights
    int threads = 0;                ///< CPU threads, at most one a core; 0: one a core
    ConfigOverrides config;
    std::vector<Lora> loras; ///< merged into the weights, unless a request has others
};

struct ModelInfo {
    std::string path;
    std::string format; ///< "safetensors", "ckpt", "gguf" or "diffusers"
    std::string family; ///< "sd1" or "sd2"
    /// What the UNet predicts: "epsilon" or "v_prediction". Empty in an `Inspection` where only
    /// running it could tell.
    std::string prediction;
    std::string device;                       ///< id of the device in use
    std::string textEncoderDevice, vaeDevice; ///< the same, or "cpu"
    std::string precision;
    int threads = 0;
    std::uint64_t textEncoderParameters = 0, unetParameters = 0, vaeParameters = 0;
    std::uint64_t weightBytes = 0; ///< memory that the weights take on the device

    int textWidth = 0, textLayers = 0, textHeads = 0;
    int vocabulary = 0;            ///< how many token ids there are, learnt ones included
    std::vector<Embedding> learnt; ///< in the order in which they were asked for
    std::vector<int> unetChannels; ///< by level, from fine to coarse
    std::vector<int> unetHeads;    ///< by level
    int unetLayersPerLevel = 0, contextWidth = 0, unetNormGroups = 0;
    std::vector<int> vaeChannels; ///< by level, from fine to coarse
    int vaeNormGroups = 0;
    double vaeScalingFactor = 0;
    int nativeSize = 0; ///< side of the pictures that it was trained on, in pixels
};

struct TensorInfo {
    std::string name; ///< in the original Stable Diffusion naming
    std::string type; ///< "F32", "F16", "BF16", "Q4_K", ...
    std::vector<std::int64_t> shape;
    std::uint64_t bytes = 0;
    std::string file;
};

/// What is known of a checkpoint without loading its weights.
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
Inspection inspect(const std::string &path, const ConfigOverrides &config = {});

// ---------------------------------------------------------------------------------------------
// Mixing

struct MixRequest {
    /// The layout: RGB pixels `[height, width, 3]`, or, if empty, `layoutTokens`.
    std::vector<std::uint8_t> layoutPixels;
    std::vector<std::int32_t> layoutTokens;
    std::vector<std::int32_t> contentTokens;
    std::vector<std::int32_t> negativeTokens;
    /// If not empty: the content's text states are interpolated with those of this prompt, the
    /// baseline of the paper's Figure 2. 0 is the content alone, 1 the other alone.
    std::vector<std::int32_t> otherTokens;
    double otherWeight = 0;
    std::vector<AttentionScale> scales;
    std::optional<std::vector<Lora>> loras; ///< in the place of those that were loaded
    int width = 512;                        ///< pixels, a multiple of 8
    int height = 512;                       ///< pixels, a multiple of 8
    double kMin = 0.3;
    double kMax = 0.6;
    double nu = 0.9;
    double guidanceScale = 7.5;
    double eta = 0;
    int steps = 50;
    std::uint64_t seed = 0;
    int previewEvery = 0; ///< a preview every n steps; 0: none
    bool trace = false;   ///< keep the states
};

/// The latent `[4, height/8, width/8]` at one index of the sampler.
struct State {
    int index = 0;    ///< 0 is pure noise, N the clean latent
    int timestep = 0; ///< t_index; 0 for index N
    std::vector<float> latent;
};

struct Timings { ///< milliseconds
    double encode = 0, decode = 0, total = 0;
    std::vector<double> steps; ///< every call of the UNet, layout first
};

struct MixResult {
    int width = 0, height = 0;
    std::vector<std::uint8_t> rgb;  ///< `[height, width, 3]`
    std::vector<State> trace;       ///< states iMax..N; empty unless asked for
    std::vector<State> layoutTrace; ///< text-text only: states 0..max(iMax, iMin - 1)
    Timings timings;
};

class Engine {
public:
    /// Reads, converts and places the weights.
    static std::unique_ptr<Engine> load(const LoadOptions &options, const Cancellation &cancel,
                                        const ProgressCallback &progress);
    ~Engine();
    Engine(const Engine &) = delete;
    Engine &operator=(const Engine &) = delete;

    const ModelInfo &info() const;

    /// The whole way from layout and content to pixels.
    MixResult mix(const MixRequest &request, const Cancellation &cancel,
                  const ProgressCallback &progress);

    // The parts, one by one.

    /// Last hidden state after the final norm, `[77, width]`, of 77 token ids.
    std::vector<float> encodeText(const std::vector<std::int32_t> &tokens,
                                  const Cancellation &cancel);

    /// One call of the UNet without guidance: the noise `[4, h, w]` in `latent` at `timestep`,
    /// 0..999, that follows from what it predicts, given the text states `[77, width]` and scales
    /// of their tokens. `stages`, if not null, receives the outputs of the UNet's blocks.
    std::vector<float>
    predictNoise(const std::vector<float> &latent, int latentWidth, int latentHeight, int timestep,
                 const std::vector<float> &textStates, const std::vector<AttentionScale> &scales,
                 const Cancellation &cancel, std::vector<StageValues> *stages = nullptr);

    /// Mean of the VAE's posterior `[4, height/8, width/8]`, not scaled, of RGB pixels.
    std::vector<float> encodePicture(const std::vector<std::uint8_t> &rgb, int width, int height,
                                     const Cancellation &cancel,
                                     std::vector<StageValues> *stages = nullptr);

    /// The picture `[3, 8 h, 8 w]`, about -1..1 but not clamped, of a scaled latent.
    std::vector<float> decodeLatent(const std::vector<float> &latent, int latentWidth,
                                    int latentHeight, const Cancellation &cancel,
                                    std::vector<StageValues> *stages = nullptr);

private:
    struct Parts;
    explicit Engine(std::unique_ptr<Parts> parts);
    std::unique_ptr<Parts> parts_;
};

} // namespace magicmix
