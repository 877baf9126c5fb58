#pragma once

// The engine, in plain values: this header gathers what its rooms declare, and is the one that a
// binding includes.
//
//     const Cancellation never;
//     LoadOptions options;
//     options.model = "sd-v1-4.safetensors";
//     const auto engine = Engine::load(options, never, [](const Progress &) {});
//     MixRequest request;
//     request.layout.pictures = {{pixels}}; // RGB [512, 512, 3]
//     request.contents = {{tokens}};        // 77 ids of "a photo of a coffee machine"
//     request.negativePrompt = empty;       // 77 ids of ""
//     request.nu.assign(Mixing::mixedStates(request.kMin, request.kMax, request.steps), 0.9);
//     const MixResult result = engine->mix(request, never, [](const Progress &) {});
//     show(result.picture.rgb, result.picture.width, result.picture.height);
//
// Threads: an `Engine` is used by one thread at a time; several engines are independent. Functions
// that are not members may be called from any thread. Every function may throw `Error`; those that
// take a `Cancellation` may throw `Cancelled`.
//
// Shapes are in torch order: latents `[4, height/8, width/8]`, pictures interleaved RGB
// `[height, width, 3]`, token ids `[77]` with BOS at 0.

#include "base/cancellation.h"
#include "base/error.h"
#include "base/latent.h"
#include "base/progress.h"
#include "checkpoint/config_keys.h"
#include "convert/convert.h"
#include "diffusion/random.h"
#include "diffusion/samplers.h"
#include "engine/inspect.h"
#include "engine/load_options.h"
#include "engine/request.h"
#include "engine/shared_states.h"
#include "mix/attention.h"
#include "model/stage_values.h"
#include "tensor/backends.h"
#include "tensor/device.h"
#include "tensor/machine.h"
#include "tensor/preflight.h"

#include <memory>
#include <vector>

namespace magicmix {

/// A loaded model.
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

    /// Frees the states that the mixes of a sweep have left for each other.
    void endSweep(int sweep);
    const Schedule &schedule() const;

    // The parts, one by one. `stages`, if not null, receives the outputs of a network's blocks.

    /// What the text encoders make of 77 token ids: states `[77, width]`, and the pooled vector if
    /// there is one.
    Conditioning encodeText(const Tokens &tokens, const Cancellation &cancel);

    /// One call of the UNet without guidance.
    struct NoiseInput {
        Latent latent;
        CellSize size;
        int timestep = 0;          ///< 0..999
        Conditioning conditioning; ///< as `encodeText` gives it
        std::optional<PictureConditioning> picture;
        std::vector<AttentionScale> attention; ///< whatever their windows
    };
    /// The noise in the latent that follows from the UNet's prediction.
    Latent predictNoise(const NoiseInput &input, const Cancellation &cancel,
                        std::vector<StageValues> *stages = nullptr);

    /// Mean of the VAE's posterior, not scaled, of RGB pixels.
    Latent encodePicture(const std::vector<std::uint8_t> &rgb, PixelSize size,
                         const Cancellation &cancel, std::vector<StageValues> *stages = nullptr);

    /// The picture `[3, 8 h, 8 w]`, about -1..1 but not clamped, of a scaled latent.
    std::vector<float> decodeLatent(const Latent &latent, CellSize size, const Cancellation &cancel,
                                    std::vector<StageValues> *stages = nullptr);

    /// The same of the tiny decoder.
    std::vector<float> decodeLatentTiny(const Latent &latent, CellSize size,
                                        const Cancellation &cancel);

private:
    struct Parts;
    explicit Engine(std::unique_ptr<Parts> parts);
    std::unique_ptr<Parts> parts_;
};

} // namespace magicmix
