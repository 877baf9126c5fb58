#pragma once

#include "base/cancellation.h"
#include "base/latent.h"
#include "model/added_conditioning.h"
#include "model/autoencoder.h"
#include "model/placed.h"
#include "model/stage_values.h"
#include "model/text_encoder.h"
#include "model/tiny_decoder.h"
#include "model/unet.h"

#include <map>
#include <memory>

namespace magicmix {

// The networks with their graphs: plain values in, plain values out.

/// A prompt in the form that the UNet takes.
struct Conditioning {
    std::vector<float> context; ///< text states `[77, width]`, of all encoders side by side
    std::vector<float> pooled;  ///< of the last encoder, if it has such a vector
};

/// Keys and values of every cross-attention of the UNet for one prompt, on the host.
struct PromptContext {
    struct Layer {
        std::vector<float> keys;   ///< [77, width], the heads side by side
        std::vector<float> values; ///< the same
    };
    std::vector<Layer> layers;
    std::vector<float> pooled; ///< as in `Conditioning`
};

/// The prompt of a step. The same pointer is the same prompt.
using PromptPointer = std::shared_ptr<const PromptContext>;

/// What one text encoder makes of the 77 ids of a prompt, which are filled up behind the first end
/// of text as this encoder wants it.
Conditioning runTextEncoder(const Placed<TextEncoder> &encoder, std::vector<std::int32_t> ids,
                            const Cancellation &cancel);

/// Keys and values of a prompt, computed once.
PromptContext runContext(const Placed<UNet> &unet, const Conditioning &conditioning,
                         const Cancellation &cancel);

/// Of zeros in the place of text states, which some families take where there is no prompt.
PromptContext noPrompt(const UNet &unet, int pooledWidth);

/// Scales every token's column of every cross-attention map, `scales` being `[77]`. The map M
/// enters the result only as M V, so scaling column j of M is scaling row j of V (section 3.3.2).
PromptContext scaled(const PromptContext &context, const std::vector<float> &scales);

/// Of `first` for the first `count` cross-attentions, of `second` for the others. A pooled vector
/// reaches all ResBlocks by one embedding; it is that of `second`.
PromptContext split(const PromptContext &first, const PromptContext &second, std::size_t count);

/// Mean of the posterior, not scaled, of a picture `[3, height, width]` in -1..1. `stages`, if not
/// null, receives the outputs of the encoder's blocks.
Latent encodeMean(const Placed<Autoencoder> &vae, const std::vector<float> &picture, PixelSize size,
                  const Cancellation &cancel, std::vector<StageValues> *stages = nullptr);

/// The picture `[3, 8 height, 8 width]` of a scaled latent, about -1..1 but not clamped.
std::vector<float> decodeScaled(const Placed<Autoencoder> &vae, const Latent &latent, CellSize size,
                                const Cancellation &cancel,
                                std::vector<StageValues> *stages = nullptr);

/// A tiny decoder for one size of latent. Its graph is built once, for every preview of a mix.
class TinyDecoderSession {
public:
    TinyDecoderSession(const Placed<TinyDecoder> &decoder, CellSize size);
    /// Bytes that a session takes.
    static std::uint64_t measure(const Placed<TinyDecoder> &decoder, CellSize size);

    /// The picture `[3, 8 height, 8 width]` of a scaled latent, about -1..1 but not clamped.
    std::vector<float> decode(const Latent &latent, const Cancellation &cancel);

private:
    struct Unallocated {};
    TinyDecoderSession(Unallocated, const Placed<TinyDecoder> &decoder, CellSize size);

    Placed<TinyDecoder> decoder_;
    Graph graph_;
    Tensor input_, output_;
};

/// Bytes beside the weights that the larger of the VAE's two halves takes for pictures of that
/// size.
std::uint64_t vaeMemory(const Placed<Autoencoder> &vae, PixelSize size);

/// What a session of the UNet is for.
struct UNetUse {
    int prompts = 1;             ///< which it runs in one batch
    int outerBlocks = 0;         ///< that `predictOuter` computes; 0: it will not be called
    PictureConditioning picture; ///< of a network with added conditioning
    int latents = 1;             ///< one behind the other, each of which every prompt is run on
};

/// The UNet for one size of latent and a number of prompts. Its graphs are built once; keys and
/// values stay in them until the prompts change.
class UNetSession {
public:
    UNetSession(const Placed<UNet> &unet, CellSize size, UNetUse use, bool keepStages = false);
    ~UNetSession();
    /// Bytes that a session takes.
    static std::uint64_t measure(const Placed<UNet> &unet, CellSize size, UNetUse use);

    /// One context per prompt.
    void setPrompts(const std::vector<const PromptContext *> &contexts);

    /// Timesteps that will come: what depends on them and on the prompts' vectors alone is then
    /// computed for all at once.
    void prepare(const std::vector<double> &timesteps) { timesteps_ = timesteps; }

    /// The UNet's prediction from `latent`, or from all of them, for every prompt.
    std::vector<Latent> predict(const Latent &latent, double timestep, const Cancellation &cancel);

    /// The same from the outer blocks of the UNet alone, with the features that the last `predict`
    /// has left for them.
    std::vector<Latent> predictOuter(const Latent &latent, double timestep,
                                     const Cancellation &cancel);

    std::vector<StageValues> stages() const;

private:
    class Part;
    std::vector<Latent> run(Part &part, const Latent &latent, double timestep,
                            const Cancellation &cancel);

    void computeShifts(std::vector<double> timesteps, const Cancellation &cancel);

    Placed<UNet> unet_;
    UNetUse use_;
    bool keepStages_;
    std::unique_ptr<Part> whole_, outer_; // the second only if it is wanted
    std::vector<double> timesteps_;
    std::vector<float> added_;                                   // the added vectors of all prompts
    std::map<double, std::vector<std::vector<float>>> shiftsAt_; // by timestep, then ResBlock
    std::vector<StageValues> timeStages_;
};

} // namespace magicmix
