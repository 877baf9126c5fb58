#pragma once

#include "base/cancellation.h"
#include "base/clock.h"
#include "base/progress.h"
#include "diffusion/random.h"
#include "diffusion/sampler.h"
#include "engine/kept.h"
#include "engine/networks.h"
#include "engine/request.h"
#include "engine/shared_states.h"
#include "engine/step_prompts.h"
#include "engine/text_encoding.h"
#include "engine/trail.h"
#include "mix/magicmix.h"
#include "model/conditioning.h"
#include "model/sessions.h"

#include <memory>
#include <optional>

namespace magicmix {

class GuidedUnet;
class PromptJudge;
class Reporter;
struct Prompts;
struct Visit;

/// One mix, from a checked request to pixels. Everything that is passed to it outlives it.
class MixRun {
public:
    /// `earlier`: what earlier mixes have encoded. `states`: of the mix's sweep, or null. By the
    /// time of `run` the weights have the LoRAs that the mix wants.
    MixRun(Networks &networks, const TextSource &texts, EarlierWork &earlier, SharedStates *states,
           const MixRequest &request, const Cancellation &cancel, const ProgressCallback &progress);
    ~MixRun();

    /// Before anything is computed. Throws `OUT_OF_MEMORY`.
    void requireMemory() const;

    /// To be called once.
    MixResult run();

private:
    void encodePrompts();
    void encodeLayout();
    void layOut();
    void mixContent();
    void score();
    void decode();

    std::shared_ptr<const Picture> preview(const Latent &clean);
    /// The picture of a latent, in planes.
    std::vector<float> tinyPicture(const Latent &latent);
    bool isNone(const Tokens &tokens) const;
    std::shared_ptr<const Conditioning> encoded(const Tokens &tokens);
    Conditioning newlyEncoded(const Tokens &tokens);
    std::string keyWithLoras(const std::string &what, const std::string &of) const;
    PromptPointer contextOf(const StepPrompt &prompt);
    PromptPointer contextOfNone(const Tokens &tokens);
    PromptPointer madeContext(const StepPrompt &prompt);
    PromptPointer madeContext(const Conditioning &conditioning);
    std::vector<Latent> ofEverySeed(const Latent &latents) const;
    Scores scoresOf(const Latent &mixed, const Latent &layout, PromptJudge &judge);
    Latent encodedPicture(const std::vector<std::uint8_t> &pixels);
    Prompts contentsAt(int i);
    std::vector<StepPrompt> judgedPrompts() const;
    double contentOf(const std::vector<double> &presences) const;
    std::vector<Visit> visits() const;
    /// A run that goes on from there, or a new one.
    Sampler::Run runFrom(const std::shared_ptr<const SharedState> &there);
    Observer observer(std::vector<State> &trace);
    using Places = std::vector<std::shared_ptr<const SharedState> *>;
    /// `places`: of states `first`, `first` + 1, ... `keep`: those to leave there.
    Arrival leaver(const Places &places, int first, const std::vector<int> &keep);

    Networks &networks_;
    const TextSource &textSource_;
    EarlierWork &earlier_;
    const MixRequest &request_;
    const Cancellation &cancel_;
    Clock::time_point start_ = Clock::now();
    CellSize size_;
    Generators generators_;
    Trail trail_;
    const Mixing &mixing_ = trail_.mixing;
    SharedStates::Path path_; // empty if nothing is shared
    Beginning begin_;
    MixRequest::Sharing sharing_;
    StepNoise stepNoise_;
    std::unique_ptr<Sampler> sampler_;
    std::unique_ptr<Reporter> reporter_;

    std::optional<TextEncoding> encoding_; // while the prompts are encoded
    Kept texts_;                           // states of the prompts' texts
    Kept prompts_; // of the steps; a prompt that was kept is the same pointer
    /// A content's keys and values as the last step had them.
    struct Content {
        PromptPointer context;
        std::string of; // what it was made of
    };
    std::vector<Content> contents_;
    std::vector<double> weights_; // of the contents; their sum is 1
    Latent z0_, noise_;           // like every state of a mix, of all seeds one behind the other
    std::unique_ptr<GuidedUnet>
        unet_; // its working memory, and the prompts', go back before the decoder takes its own
    std::unique_ptr<TinyDecoderSession> tinyDecoder_; // once it is wanted
    Layout layout_;
    Latent mixed_;
    MixResult result_;
};

} // namespace magicmix
