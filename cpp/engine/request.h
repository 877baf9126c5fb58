#pragma once

#include "base/latent.h"
#include "lora/lora.h"
#include "mix/attention.h"
#include "mix/blending.h"
#include "mix/mixing.h"
#include "model/added_conditioning.h"
#include "model/sessions.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace magicmix {

/// The 77 ids of a prompt.
using Tokens = std::vector<std::int32_t>;

struct MixRequest {
    /// Pictures, whose latents are averaged, or, if there are none, the tokens of a prompt.
    struct Layout {
        struct Picture {
            std::vector<std::uint8_t> pixels; ///< RGB `[height, width, 3]`
            double weight = 1;
        };
        std::vector<Picture> pictures;
        Tokens tokens;

        bool isPrompt() const { return pictures.empty(); }
    } layout;
    /// Of a prompt that changes from step to step: its texts, and which of them each step has.
    struct PromptEdit {
        std::vector<Tokens> texts;
        std::vector<std::int32_t> ofStep; ///< of all N steps; empty: the prompt does not change

        int at(int i) const { return ofStep.empty() ? 0 : ofStep.at(static_cast<std::size_t>(i)); }
        const Tokens &textAt(int i, const Tokens &unchanged) const {
            return ofStep.empty() ? unchanged : texts.at(static_cast<std::size_t>(at(i)));
        }
    };
    /// One prompt, or several, whose predictions are averaged.
    struct Content {
        Tokens tokens;
        PromptEdit edit;
        std::vector<AttentionScale> attention;
        double weight = 1;

        const Tokens &textAt(int i) const { return edit.textAt(i, tokens); }
    };
    std::vector<Content> contents;
    Tokens negativePrompt;
    PromptEdit layoutEdit, negativeEdit;
    /// How layout and content are mixed. Others than MagicMix mix two prompts, in a run of the
    /// content's from pure noise (`kMin` = `kMax` = 1) whose prompt is made of both.
    Method method;
    /// Of one content alone: its conditioning is interpolated with that of another prompt, the
    /// baseline of the paper's Figure 2. Weight 0 is the content alone, 1 the other alone.
    struct Interpolation {
        Tokens tokens;
        double weight = 0;
    };
    std::optional<Interpolation> interpolate;
    /// Of families that are told of pictures' sizes; by default the size of the mix, not cropped.
    std::optional<PictureConditioning> conditioning;
    std::optional<std::vector<Lora>> loras; ///< in the place of those that were loaded
    int width = 512, height = 512;          ///< pixels, multiples of 8
    double kMin = 0.3, kMax = 0.6;
    std::vector<double> nu; ///< see `Mixing::Options`
    /// A map of cells, and a number that tells it from others of a sweep.
    struct Map {
        CellMap cells;
        int number = 0;
    } nuMap, kMaxMap;
    double guidanceScale = 7.5;
    /// Of the noise levels, as fractions of T, at which the prompts are guided; at others the
    /// negative prompt is not asked.
    struct Interval {
        double from = 0, to = 1;
    } guidanceInterval;
    /// Between refreshes the inner levels of the UNet are not computed: what they gave is used
    /// again.
    struct Cache {
        int every = 1;       ///< steps from refresh to refresh; 1: none is without
        int whileMixing = 1; ///< the same of the content's steps that are mixed
        int blocks = 1;      ///< of the way up, the outermost, that every step computes

        bool isOn() const { return every > 1 || whileMixing > 1; }
    } cache;
    std::string sampler = "ddim"; ///< one of `samplerNames`
    int steps = 50;
    std::string spacing; ///< of the sampler's timesteps; "": as the model's files say
    double eta = 0;      ///< of ddim
    double gamma = 0.3;  ///< of tcd
    /// One, or several: the mixes of all of them are then computed together.
    std::vector<std::uint64_t> seeds{0};
    std::string decoder = "full"; ///< of the picture: "full", the autoencoder's, or "tiny"
    int previewEvery = 0;         ///< steps between previews; 0: none
    bool trace = false;           ///< keep the states
    /// Judge the mix, and finish the run of a layout prompt for it.
    bool score = false;
    /// Of a mix of a sweep, whose mixes leave states for each other.
    struct Sharing {
        int sweep = 0;
        /// Equal for mixes that have everything in common but what `Trail` tells of every step:
        /// another number for another layout, size, seed, sampler, LoRA ...
        int root = 0;
        std::vector<int> keepLayout, keepContent; ///< indices of states to leave
    };
    std::optional<Sharing> sharing;

    PixelSize size() const { return {width, height}; }
    Mixing mixing() const { return Mixing({kMin, kMax, steps, nu, nuMap.cells, kMaxMap.cells}); }
    const Tokens &layoutAt(int i) const { return layoutEdit.textAt(i, layout.tokens); }
    const Tokens &negativeAt(int i) const { return negativeEdit.textAt(i, negativePrompt); }
    /// Of two prompts that are interpolated, or whose columns are exchanged: that of the second.
    double weightOfSecond() const { return interpolate ? interpolate->weight : method.share; }
    PictureConditioning pictureConditioning() const {
        return conditioning.value_or(PictureConditioning{height, width, 0, 0, height, width});
    }
};

/// The values that a number may have.
struct Range {
    double low, high;
};

/// Calls `visit(name, value)` for every plain value of a request, and `visit(name, value, range)`
/// for numbers. By these names they come from JavaScript.
template <typename Request, typename Visit>
void visitValues(Request &request, const Visit &visit) {
    visit("width", request.width, Range{8, 4096});
    visit("height", request.height, Range{8, 4096});
    visit("kMin", request.kMin, Range{0, 1});
    visit("kMax", request.kMax, Range{0, 1});
    visit("method", request.method.name);
    visit("methodShare", request.method.share, Range{0, 1});
    visit("methodEvery", request.method.every, Range{2, 999});
    visit("methodDraw", request.method.draw);
    visit("guidanceScale", request.guidanceScale, Range{0, 100});
    visit("guidanceFrom", request.guidanceInterval.from, Range{0, 1});
    visit("guidanceTo", request.guidanceInterval.to, Range{0, 1});
    visit("cacheEvery", request.cache.every, Range{1, 999});
    visit("cacheWhileMixing", request.cache.whileMixing, Range{1, 999});
    visit("cacheBlocks", request.cache.blocks, Range{1, 999});
    visit("sampler", request.sampler);
    visit("steps", request.steps, Range{1, 999});
    visit("spacing", request.spacing);
    visit("eta", request.eta, Range{0, 1});
    visit("gamma", request.gamma, Range{0, 1});
    visit("decoder", request.decoder);
    visit("previewEvery", request.previewEvery, Range{0, 999});
    visit("trace", request.trace);
    visit("score", request.score);
}

/// The latent `[4, height/8, width/8]` at one index of the sampler.
struct State {
    int index = 0;       ///< 0 is pure noise, N the clean latent
    double timestep = 0; ///< t_index, which may be fractional; 0 for index N
    Latent latent;
};

struct Timings { ///< milliseconds
    double encode = 0, score = 0, decode = 0, total = 0;
    std::vector<double> steps; ///< every call of the UNet, layout first
};

/// How often the UNet was called.
struct UNetCalls {
    int full = 0, cached = 0;
    int unguided = 0; ///< among both: without the negative prompt
};

/// Calls of the UNet that it takes to score a mix, each for all prompts at once.
constexpr int kScoreCalls = 4;

/// How much of its prompts, and of its layout, is in a mix: 0..1 each.
struct Scores {
    double content = 0;
    std::optional<double> layoutPrompt; ///< text-text only
    double layout = 0;
};

struct MixResult {
    std::vector<Picture> pictures; ///< one of every seed
    std::vector<State> trace;      ///< states iMax..N; empty unless asked for
    /// text-text only: states 0..max(iMax, iMin - 1), or 0..N if the mix is scored
    std::vector<State> layoutTrace;
    std::vector<Scores> scores; ///< the same, if asked for
    UNetCalls unetCalls;        ///< of the mix alone
    Timings timings;
};

// Checks of a request before a graph is built from it: ggml asserts, and an assertion ends
// the process. All throw `INVALID_ARGUMENT` with the name of the value at fault.

/// Sizes of the model that limit what can be asked of it.
struct ModelLimits {
    int vocabulary; ///< tokens
    int upBlocks;   ///< of the UNet
    bool hasAddedConditioning;
};
void checkMixRequest(const MixRequest &request, const ModelLimits &limits);
/// Multiples of 8 from 8 to 4096.
void checkSize(PixelSize size);
void checkPixels(const std::vector<std::uint8_t> &rgb, PixelSize size);
void checkLatent(const Latent &latent, CellSize size);
void checkConditioning(const Conditioning &conditioning, int width, int pooledWidth);
void checkTokens(const Tokens &tokens, int vocabulary, const std::string &name);
void checkAttention(const std::vector<AttentionScale> &scales);

} // namespace magicmix
