#pragma once

#include "cancellation.h"
#include "error.h"

#include <array>
#include <cstdint>
#include <functional>
#include <map>
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

/// Number of rows that the text encoder sees: BOS, at most 75 tokens, EOS, padding.
constexpr int kContextLength = 77;
/// Channels of a latent of Stable Diffusion 1.x and 2.x.
constexpr int kLatentChannels = 4;
/// Pixels along one side of a latent's cell.
constexpr int kPixelsPerCell = 8;

// ---------------------------------------------------------------------------------------------
// Devices

struct DeviceInfo {
    std::string id;          ///< what `LoadOptions::device` takes: "cpu", "cuda:0", ...
    std::string description; ///< name of the hardware
    std::string backend;     ///< "cpu", "cuda", "metal", "vulkan"
    /// "cpu"; of GPUs "discrete", "integrated" (shares the CPU's memory), or "software": a driver
    /// that computes on the CPU, right but very slowly.
    std::string kind;
    std::uint64_t totalMemory = 0; ///< bytes; 0 if unknown
    std::uint64_t freeMemory = 0;  ///< bytes; 0 if unknown
};

/// The devices of all backends that were loaded; the CPU, which is always there, comes last.
std::vector<DeviceInfo> listDevices();

/// Loads the shared library of a GPU's backend, unless it is loaded already: for the whole process,
/// and until its end. That runs code of the GPU's driver, which may crash: try it in another
/// process first. Throws `DEVICE_UNAVAILABLE` with the reason.
void loadBackend(const std::string &path);

/// Of libraries with the CPU's operations, each made for some instruction set, loads the one that
/// suits this machine best. The first call in a process counts; without it all runs on any CPU.
void loadBestCpu(const std::vector<std::string> &paths);

/// How far results of a device are from the CPU's.
struct Preflight {
    double error = 0; ///< relative, of all values together
    bool passed = false;
};
/// Runs every kind of operation of the networks once, in small, on a device and on the CPU.
/// Throws `DEVICE_UNAVAILABLE` and `DEVICE_FAILED`.
Preflight preflight(const std::string &device);

// ---------------------------------------------------------------------------------------------
// Models

/// What a single file cannot tell; each wins over the model's own config.json.
struct ConfigOverrides {
    std::optional<int> unetHeads;              ///< attention heads of the UNet, on every level
    std::optional<int> unetHeadWidth;          ///< or channels of each of them, on every level
    std::optional<std::string> unetPrediction; ///< "epsilon" or "v_prediction"
    std::optional<int> unetNormGroups;         ///< default 32
    std::optional<int> textEncoderHeads;       ///< attention heads of the text encoder
    std::optional<int> vaeNormGroups;          ///< default 32
    std::optional<double> vaeScalingFactor;    ///< default 0.18215
};

/// A file of textual inversion, and what stands for it in prompts.
struct EmbeddingFile {
    std::string placeholder;
    std::string path;
};

/// The ids of a placeholder: `count` from `firstId` on, behind those of the model's vocabulary.
struct LearntToken {
    std::string placeholder;
    int firstId = 0, count = 0;
};

/// A file of low-rank changes to the weights, and how strong they are: 1 as it was trained.
struct Lora {
    std::string file;
    float strength = 1;
};

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
    int vocabulary = 0;              ///< how many token ids there are, learnt ones included
    std::vector<LearntToken> learnt; ///< in the order in which they were asked for
    std::vector<int> unetChannels;   ///< by level, from fine to coarse
    std::vector<int> unetHeads;      ///< by level
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

struct ConvertOptions {
    std::string input;  ///< anything that `LoadOptions::model` takes
    std::string output; ///< ends in ".gguf" or ".safetensors"
    /// Of the large weights: "f32", "f16", "bf16"; in GGUF also "q8_0", "q6_k", "q5_k", "q5_1",
    /// "q5_0", "q4_k", "q4_1", "q4_0", "q3_k", "q2_k".
    std::string type = "f16";
    bool overwrite = false; ///< an output that exists
    ConfigOverrides config; ///< written into the output
};

struct Conversion {
    std::string path;
    std::uint64_t bytes = 0;
    std::map<std::string, int> tensorsOfType; ///< how many tensors were written in each type
};

// ---------------------------------------------------------------------------------------------
// Mixing

/// A cross-attention scale for one token of the content prompt (paper, section 3.3.2).
struct TokenScale {
    int position = 0; ///< column of the attention map: 0 is BOS, 1 the first token
    float scale = 1;  ///< in [-2, 2]
    double from = 0;  ///< the window in which it acts, in fractions of T like kMin and kMax:
    double to = 1;    ///< steps i with N - floor(to N) <= i < N - floor(from N)
};

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
    std::vector<TokenScale> scales;
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

/// A small RGB picture `[height, width, 3]`.
struct Picture {
    int width = 0, height = 0;
    std::vector<std::uint8_t> rgb;
};

enum class Stage { Load, Convert, Encode, Layout, Content, Decode };
const char *stageName(Stage stage);

struct Progress {
    Stage stage = Stage::Encode;
    int step = 0;     ///< how many of this stage's steps are done
    int steps = 0;    ///< how many this stage has
    int timestep = 0; ///< training timestep of the step just done; 0 where there is none
    double etaMs = 0; ///< estimated time to the end of the whole request; 0 while unknown
    std::shared_ptr<const Picture> preview; ///< linear image of the predicted clean latent
};
using ProgressCallback = std::function<void(const Progress &)>;

/// Writes what mixing needs of a checkpoint as one file in the original naming. Needs little
/// memory, whatever the size of the model; the output is there whole or not at all.
/// Throws what `Engine::load` throws of files, `DISK_FULL`, `FILE_UNWRITABLE`.
Conversion convert(const ConvertOptions &options, const Cancellation &cancel,
                   const ProgressCallback &progress);

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

/// Values inside a network, for comparison with a reference.
struct StageValues {
    std::string name; ///< as the block is called in the original checkpoint: "input_blocks.3"
    std::vector<std::int64_t> shape; ///< torch order
    std::vector<float> values;
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
                 const std::vector<float> &textStates, const std::vector<TokenScale> &scales,
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

// ---------------------------------------------------------------------------------------------
// The sampler's numbers

/// What `torch.manual_seed(seed); torch.randn(count)` gives on the CPU, to float32 rounding.
std::vector<float> randn(std::uint64_t seed, std::size_t count);

struct Schedule {
    std::vector<int> timesteps;       ///< t_0 > t_1 > ...
    std::vector<double> alphaBar;     ///< cumulative alpha at t_i
    std::vector<double> alphaBarNext; ///< cumulative alpha after step i
};
/// The DDIM schedule of `steps` steps, 1..1000.
Schedule schedule(int steps);

} // namespace magicmix
