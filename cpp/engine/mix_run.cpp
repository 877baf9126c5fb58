#include "engine/mix_run.h"

#include "base/numbers.h"
#include "diffusion/samplers.h"
#include "engine/description.h"
#include "engine/guided_unet.h"
#include "engine/reporter.h"
#include "engine/score.h"
#include "mix/preview.h"
#include "model/finite.h"
#include "model/pixels.h"

#include <algorithm>
#include <map>
#include <stdexcept>

namespace magicmix {
namespace {

SamplerOptions samplerOptions(const MixRequest &request) {
    return {request.sampler, request.steps, request.spacing, request.eta, request.gamma};
}

Beginning beginningFor(const Trail &trail, const SharedStates::Path &path) {
    return beginningOf<std::shared_ptr<const SharedState>>(
        trail, path,
        [](const std::shared_ptr<const SharedState> &there) { return there != nullptr; });
}

/// Their weights, which make 1 together.
template <typename Weighted>
std::vector<double> shares(const std::vector<Weighted> &all) {
    double sum = 0;
    for (const Weighted &each : all) sum += each.weight;
    std::vector<double> shares;
    for (const Weighted &each : all) shares.push_back(each.weight / sum);
    return shares;
}

template <typename T>
std::string bytesOf(const std::vector<T> &values) {
    return {reinterpret_cast<const char *>(values.data()), values.size() * sizeof(T)};
}

/// Keys and values of a prompt that changes often may be many, and so may its states; those that do
/// not fit are computed again when their step comes.
constexpr std::size_t mostPromptBytes = std::size_t{1} << 30;

int scoreCalls(const MixRequest &request) {
    return request.score ? kScoreCalls * static_cast<int>(request.seeds.size()) : 0;
}

std::size_t bytesIn(const PromptContext &context) {
    std::size_t bytes = 0;
    for (const auto &layer : context.layers) {
        bytes += (layer.keys.size() + layer.values.size()) * sizeof(float);
    }
    return bytes;
}

} // namespace

MixRun::MixRun(Networks &networks, const TextSource &texts, EarlierWork &earlier,
               SharedStates *states, const MixRequest &request, const Cancellation &cancel,
               const ProgressCallback &progress)
    : networks_(networks), textSource_(texts), earlier_(earlier), request_(request),
      cancel_(cancel), size_(request.size().cells()), generators_(request.seeds),
      trail_(request, networks.schedule()),
      path_(states ? states->along(request.sharing->root, trail_) : SharedStates::Path{}),
      begin_(beginningFor(trail_, path_)),
      sharing_(request.sharing.value_or(MixRequest::Sharing{})),
      stepNoise_(generators_, size_.values(), request.layout.isPrompt() ? 0 : mixing_.iMax),
      sampler_(makeSampler(samplerOptions(request), networks.schedule(), stepNoise_)),
      reporter_(std::make_unique<Reporter>(progress, begin_.layoutSteps() + request.steps -
                                                         begin_.content + scoreCalls(request))),
      texts_(mostPromptBytes), prompts_(mostPromptBytes) {}

MixRun::~MixRun() = default;

void MixRun::requireMemory() const {
    const bool withTinyDecoder =
        networks_.hasTinyDecoder() && (request_.decoder == "tiny" || request_.previewEvery > 0);
    networks_.requireMemoryToMix(request_.size(),
                                 GuidedUnet::sessionsFor(request_, networks_.schedule(), visits()),
                                 withTinyDecoder);
    if (request_.score) { // when the mix's own sessions are gone
        const auto prompts = 1 + request_.contents.size() + (request_.layout.isPrompt() ? 1 : 0);
        networks_.requireMemoryToMix(request_.size(),
                                     {PromptJudge::useFor(request_, static_cast<int>(prompts))},
                                     withTinyDecoder);
    }
}

MixResult MixRun::run() {
    encodePrompts();
    encodeLayout();
    layOut();
    mixContent();
    result_.timings.steps = reporter_->unetSteps();
    score();
    decode();
    result_.timings.total = millisecondsSince(start_);
    return std::move(result_);
}

// ---------------------------------------------------------------------------------------------
// Encode: the prompts to keys and values, the picture to a latent

/// All that the steps will ask for, so that whatever is wrong with one is found before the first.
/// The states of all texts come first: the text encoders may then give their memory back.
void MixRun::encodePrompts() {
    std::map<std::string, StepPrompt> contents, layouts;
    std::map<std::string, const Tokens *> negatives;
    const auto addNegative = [&](const Tokens &tokens) {
        negatives.emplace(promptOfText(Blend::Content, tokens).of, &tokens);
    };
    const auto add = [](std::map<std::string, StepPrompt> &prompts, const StepPrompt &prompt) {
        prompts.emplace(prompt.of, prompt);
    };
    const bool hasLayoutPrompt = request_.layout.isPrompt();
    for (int i = 0; i < request_.steps; i++) {
        const bool isAsked = i == 0 || i < trail_.lastLayout;
        if (hasLayoutPrompt && isAsked) add(layouts, layoutPromptAt(request_, i));
        addNegative(request_.negativeAt(i));
        if (i < mixing_.iMax) continue;
        for (std::size_t c = 0; c < request_.contents.size(); c++) {
            add(contents, contentPromptAt(request_, i, c));
        }
    }
    const Tokens empty = emptyPrompt(networks_.architecture.texts[0].padding);
    if (request_.score) {
        addNegative(empty);
        for (const StepPrompt &prompt : judgedPrompts()) add(contents, prompt);
    }
    reporter_->begin(Stage::Encode,
                     static_cast<int>(contents.size() + layouts.size() + negatives.size() +
                                      request_.layout.pictures.size()));
    encoding_.emplace(networks_, textSource_, cancel_);
    for (const auto *prompts : {&contents, &layouts}) {
        for (const auto &[of, prompt] : *prompts) {
            if (prompt.layout) encoded(*prompt.layout);
            if (prompt.content) encoded(*prompt.content);
            reporter_->done();
        }
    }
    for (const auto &[of, tokens] : negatives) {
        if (!isNone(*tokens)) encoded(*tokens);
        reporter_->done();
    }
    encoding_.reset();
    for (const auto &[of, prompt] : contents) contextOf(prompt);
    for (const auto &[of, tokens] : negatives) contextOfNone(*tokens);
    for (const auto &[of, prompt] : layouts) contextOf(prompt);
    contents_.resize(request_.contents.size());
    weights_ = shares(request_.contents);
}

std::shared_ptr<const Conditioning> MixRun::encoded(const Tokens &tokens) {
    const std::string key = keyWithLoras("text", bytesOf(tokens));
    if (auto states = texts_.find<Conditioning>(key)) return states;
    const auto keepIn = [&](Kept &kept, const std::shared_ptr<const Conditioning> &states) {
        const std::size_t count = states->context.size() + states->pooled.size();
        kept.keep<Conditioning>(key, states, count * sizeof(float));
    };
    auto states = earlier_.encoded.find<Conditioning>(key);
    if (!states) {
        states = std::make_shared<const Conditioning>(newlyEncoded(tokens));
        keepIn(earlier_.encoded, states);
    }
    keepIn(texts_, states);
    return states;
}

/// What is made with the weights that LoRAs change is another thing with other LoRAs.
std::string MixRun::keyWithLoras(const std::string &what, const std::string &of) const {
    return what + " " + std::to_string(textSource_.loras.version()) + " " + of;
}

Conditioning MixRun::newlyEncoded(const Tokens &tokens) {
    Conditioning states = encoding_ ? encoding_->encode(tokens)
                                    : TextEncoding(networks_, textSource_, cancel_).encode(tokens);
    requireFinite(states.context, "the text encoder");
    requireFinite(states.pooled, "the text encoder");
    return states;
}

/// Whether it is an empty prompt in the place of which the family takes zeros.
bool MixRun::isNone(const Tokens &tokens) const {
    const Architecture &architecture = networks_.architecture;
    return architecture.zerosForEmptyPrompt && tokens == emptyPrompt(architecture.texts[0].padding);
}

PromptPointer MixRun::contextOfNone(const Tokens &tokens) {
    if (!isNone(tokens)) return contextOf(promptOfText(Blend::Content, tokens));
    const std::string key = "no prompt";
    if (auto context = prompts_.find<PromptContext>(key)) return context;
    auto context = std::make_shared<PromptContext>(
        noPrompt(networks_.unet().network, networks_.architecture.texts.back().pooledWidth));
    prompts_.keep<PromptContext>(key, context, bytesIn(*context));
    return context;
}

PromptPointer MixRun::contextOf(const StepPrompt &prompt) {
    const std::string key = keyWithLoras("prompt", prompt.of);
    if (auto context = prompts_.find<PromptContext>(key)) return context;
    PromptPointer context = earlier_.contexts.find<PromptContext>(key);
    if (!context) {
        context = madeContext(prompt);
        earlier_.contexts.keep<PromptContext>(key, context, bytesIn(*context));
    }
    prompts_.keep<PromptContext>(key, context, bytesIn(*context));
    return context;
}

PromptPointer MixRun::madeContext(const StepPrompt &prompt) {
    const auto &[how, layout, content, of] = prompt;
    const auto contextOfText = [&](const Tokens &tokens) {
        return contextOf(promptOfText(Blend::Content, tokens));
    };
    switch (how) {
    case Blend::Layout: return madeContext(*encoded(*layout));
    case Blend::Content: return madeContext(*encoded(*content));
    case Blend::Interpolated:
        return madeContext(
            interpolate(*encoded(*layout), *encoded(*content), request_.weightOfSecond()));
    case Blend::Swapped:
        return madeContext(swapped(*encoded(*layout), *encoded(*content), request_.weightOfSecond(),
                                   request_.method.draw));
    case Blend::Split:
        return std::make_shared<PromptContext>(split(*contextOfText(*layout),
                                                     *contextOfText(*content),
                                                     networks_.unet().network.crossesOfWayDown()));
    }
    throw std::logic_error("a blend that is not known");
}

PromptPointer MixRun::madeContext(const Conditioning &conditioning) {
    return std::make_shared<PromptContext>(runContext(networks_.unet(), conditioning, cancel_));
}

void MixRun::encodeLayout() {
    const std::vector<double> weights = shares(request_.layout.pictures);
    for (std::size_t p = 0; p < weights.size(); p++) {
        Latent z0 = encodedPicture(request_.layout.pictures[p].pixels);
        if (weights.size() == 1) {
            z0_ = std::move(z0);
        } else {
            z0_.resize(z0.size());
            for (std::size_t k = 0; k < z0.size(); k++) {
                z0_[k] += static_cast<float>(weights[p] * z0[k]);
            }
        }
        reporter_->done();
    }
    const Latent one = z0_;
    for (std::size_t s = 1; s < request_.seeds.size(); s++) {
        z0_.insert(z0_.end(), one.begin(), one.end());
    }
    noise_ = generators_.randn(size_.values());
    result_.timings.encode = millisecondsSince(start_);
}

std::vector<Latent> MixRun::ofEverySeed(const Latent &latents) const {
    const auto count = static_cast<std::ptrdiff_t>(size_.values());
    std::vector<Latent> each;
    for (auto first = latents.begin(); first != latents.end(); first += count) {
        each.emplace_back(first, first + count);
    }
    return each;
}

/// The latent of a picture, which is the same whatever the weights of the UNet are.
Latent MixRun::encodedPicture(const std::vector<std::uint8_t> &pixels) {
    const std::string key = "picture " + std::to_string(request_.width) + " " + bytesOf(pixels);
    if (const auto kept = earlier_.encoded.find<Latent>(key)) return *kept;
    Latent z0 = encodeMean(networks_.vae(), toPlanes(pixels), request_.size(), cancel_);
    requireFiniteVae(z0);
    multiply(z0, networks_.vae().network.scalingFactor());
    earlier_.encoded.keep<Latent>(key, std::make_shared<const Latent>(z0),
                                  z0.size() * sizeof(float));
    return z0;
}

// ---------------------------------------------------------------------------------------------
// Layout and content

void MixRun::layOut() {
    if (begin_.layoutSteps() > 0 || begin_.content < request_.steps) {
        unet_ = std::make_unique<GuidedUnet>(networks_, request_, *reporter_, cancel_);
        unet_->prepare(visits());
    }
    if (!request_.layout.isPrompt()) {
        layout_ = pictureLayout(*sampler_, z0_, noise_, mixing_.iMax);
        return;
    }
    reporter_->begin(Stage::Layout, begin_.layoutSteps());
    const auto denoise = [&](const Latent &x, int i, double t) {
        unet_->setNegative(contextOfNone(request_.negativeAt(i)));
        return unet_->denoise(x, t, {{contextOf(layoutPromptAt(request_, i))}, {1}},
                              trail_.layout[static_cast<std::size_t>(i)].whole);
    };
    std::vector<Latent> states{sampler_->begun(noise_)};
    std::shared_ptr<const SharedState> last;
    for (int i = 1; i <= begin_.layout; i++) {
        last = *path_.layout[static_cast<std::size_t>(i)];
        states.push_back(last->state);
    }
    states =
        promptLayout(runFrom(last), std::move(states), begin_.lastLayout, denoise,
                     observer(result_.layoutTrace), leaver(path_.layout, 0, sharing_.keepLayout));
    layout_ = [states = std::move(states)](int i) { return states[static_cast<std::size_t>(i)]; };
}

void MixRun::mixContent() {
    reporter_->begin(Stage::Content, request_.steps - begin_.content);
    const auto denoise = [&](const Latent &x, int i, double t) {
        unet_->setNegative(contextOfNone(request_.negativeAt(i)));
        return unet_->denoise(x, t, contentsAt(i), trail_.contentStep(i).whole);
    };
    const int first = mixing_.iMax;
    std::shared_ptr<const SharedState> there;
    if (begin_.content > first) {
        there = *path_.content[static_cast<std::size_t>(begin_.content - first)];
    }
    mixed_ = mixStates(runFrom(there), there ? there->state : layout_(first), begin_.content,
                       mixing_, layout_, denoise, observer(result_.trace),
                       leaver(path_.content, first, sharing_.keepContent));
    if (unet_) result_.unetCalls = unet_->calls();
    unet_.reset();
}

Sampler::Run MixRun::runFrom(const std::shared_ptr<const SharedState> &there) {
    Sampler::Run run = sampler_->run();
    if (there) run.remember(there->memory);
    return run;
}

/// The contents of step i: others than before only where a prompt changes, or where the window of a
/// scale begins or ends.
Prompts MixRun::contentsAt(int i) {
    Prompts prompts{{}, weights_};
    for (std::size_t c = 0; c < contents_.size(); c++) {
        Content &content = contents_[c];
        const StepPrompt prompt = contentPromptAt(request_, i, c);
        const std::vector<float> scales = contentScalesAt(request_, i, c);
        const std::string of = Description().add(prompt.of).add(scales).text();
        if (of != content.of) {
            content.of = of;
            content.context = contextOf(prompt);
            const bool none =
                std::all_of(scales.begin(), scales.end(), [](float scale) { return scale == 1; });
            if (!none) {
                content.context = std::make_shared<PromptContext>(scaled(*content.context, scales));
            }
        }
        prompts.prompts.push_back(content.context);
    }
    return prompts;
}

std::vector<Visit> MixRun::visits() const {
    std::vector<Visit> all;
    for (int i = 0; i < static_cast<int>(trail_.layout.size()); i++) {
        all.push_back({sampler_->timestep(i), 1});
    }
    for (int i = mixing_.iMax; i < request_.steps; i++) {
        all.push_back({sampler_->timestep(i), static_cast<int>(request_.contents.size())});
    }
    return all;
}

/// Leaves what others begin with.
Arrival MixRun::leaver(const Places &places, int first, const std::vector<int> &keep) {
    return [&, first](int i, const Latent &x, const Sampler::Run &run) {
        if (std::find(keep.begin(), keep.end(), i) == keep.end()) return;
        *places[static_cast<std::size_t>(i - first)] =
            std::make_shared<const SharedState>(SharedState{x, run.memory()});
    };
}

/// Keeps states if they are asked for, and reports every step.
Observer MixRun::observer(std::vector<State> &trace) {
    return [&](int i, const Latent &state, const Latent *clean) {
        if (request_.trace) trace.push_back({i, sampler_->timestep(i), state});
        if (!clean) return;
        const bool wanted = request_.previewEvery > 0 && i % request_.previewEvery == 0;
        reporter_->done(sampler_->timestep(i - 1), wanted ? preview(*clean) : nullptr);
    };
}

std::shared_ptr<const Picture> MixRun::preview(const Latent &clean) {
    if (!networks_.hasTinyDecoder()) {
        const auto &latentRgb = networks_.vae().network.latentRgb();
        return std::make_shared<const Picture>(previewOf(clean, size_, latentRgb));
    }
    return std::make_shared<const Picture>(
        Picture{request_.width, request_.height, toRgb(tinyPicture(clean))});
}

std::vector<float> MixRun::tinyPicture(const Latent &latent) {
    if (!tinyDecoder_) {
        tinyDecoder_ = std::make_unique<TinyDecoderSession>(networks_.tinyDecoder(), size_);
    }
    std::vector<float> planes = tinyDecoder_->decode(latent, cancel_);
    requireFinite(planes, "the tiny decoder");
    return planes;
}

// ---------------------------------------------------------------------------------------------
// Score: how much of prompts and layout is in the latent

void MixRun::score() {
    if (request_.score) {
        reporter_->begin(Stage::Score, scoreCalls(request_));
        const auto start = Clock::now();
        std::vector<PromptPointer> judged{
            contextOfNone(emptyPrompt(networks_.architecture.texts[0].padding))};
        for (const StepPrompt &prompt : judgedPrompts()) judged.push_back(contextOf(prompt));
        std::vector<const PromptContext *> prompts;
        for (const PromptPointer &each : judged) prompts.push_back(each.get());
        PromptJudge judge(networks_, request_, prompts, cancel_);
        const std::vector<Latent> mixed = ofEverySeed(mixed_);
        const std::vector<Latent> layouts =
            ofEverySeed(request_.layout.isPrompt() ? layout_(request_.steps) : z0_);
        for (std::size_t s = 0; s < mixed.size(); s++) {
            result_.scores.push_back(scoresOf(mixed[s], layouts[s], judge));
        }
        result_.timings.score = millisecondsSince(start);
    }
    contents_.clear();
    prompts_ = Kept(0);
}

Scores MixRun::scoresOf(const Latent &mixed, const Latent &layout, PromptJudge &judge) {
    auto last = Clock::now();
    const std::vector<double> presences = judge.presences(mixed, [&](double timestep) {
        reporter_->unetStepTook(millisecondsSince(last));
        last = Clock::now();
        reporter_->done(timestep);
    });
    Scores scores;
    scores.content = contentOf(presences);
    if (request_.layout.isPrompt()) scores.layoutPrompt = presences.back();
    scores.layout = structureKept(layout, mixed, size_);
    return scores;
}

/// What a score looks for: the contents, then the prompt of the layout, as they are in the end. Of
/// other methods both prompts by themselves.
std::vector<StepPrompt> MixRun::judgedPrompts() const {
    const int last = request_.steps - 1;
    std::vector<StepPrompt> prompts;
    for (std::size_t c = 0; c < request_.contents.size(); c++) {
        prompts.push_back(request_.method.isMagicMix()
                              ? contentPromptAt(request_, last, c)
                              : promptOfText(Blend::Content, request_.contents[c].textAt(last)));
    }
    if (request_.layout.isPrompt()) prompts.push_back(layoutPromptAt(request_, last));
    return prompts;
}

/// The mean of what was found of every content. One that is pushed away is not looked for.
double MixRun::contentOf(const std::vector<double> &presences) const {
    double sum = 0, all = 0;
    for (std::size_t c = 0; c < weights_.size(); c++) {
        const double weight = std::max(0.0, weights_[c]);
        sum += weight * presences[c];
        all += weight;
    }
    return weights_.size() == 1 ? presences[0] : sum / all;
}

// ---------------------------------------------------------------------------------------------
// Decode: the latent to pixels

void MixRun::decode() {
    reporter_->begin(Stage::Decode, 1);
    const auto start = Clock::now();
    const bool isTiny = request_.decoder == "tiny";
    if (!isTiny) tinyDecoder_.reset(); // its working memory goes back before the decoder's is taken
    for (const Latent &mixed : ofEverySeed(mixed_)) {
        const std::vector<float> planes =
            isTiny ? tinyPicture(mixed) : decodeScaled(networks_.vae(), mixed, size_, cancel_);
        if (!isTiny) requireFiniteVae(planes);
        result_.pictures.push_back({request_.width, request_.height, toRgb(planes)});
    }
    result_.timings.decode = millisecondsSince(start);
    reporter_->done();
}

} // namespace magicmix
