#include "engine/mix_run.h"

#include "base/numbers.h"
#include "diffusion/samplers.h"
#include "engine/description.h"
#include "engine/guided_unet.h"
#include "engine/reporter.h"
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

template <typename T>
std::string bytesOf(const std::vector<T> &values) {
    return {reinterpret_cast<const char *>(values.data()), values.size() * sizeof(T)};
}

/// Keys and values of a prompt that changes often may be many; those that do not fit are computed
/// again when their step comes.
constexpr std::size_t mostPromptBytes = std::size_t{1} << 30;

std::size_t bytesIn(const PromptContext &context) {
    std::size_t bytes = 0;
    for (const auto &layer : context.layers) {
        bytes += (layer.keys.size() + layer.values.size()) * sizeof(float);
    }
    return bytes;
}

} // namespace

MixRun::MixRun(Networks &networks, const Loras &loras, Kept &kept, SharedStates *states,
               const MixRequest &request, const Cancellation &cancel,
               const ProgressCallback &progress)
    : networks_(networks), loras_(loras), kept_(kept), request_(request), cancel_(cancel),
      size_(request.size().cells()), generator_(request.seed), trail_(request, networks.schedule()),
      path_(states ? states->along(request.sharing->root, trail_) : SharedStates::Path{}),
      begin_(beginningFor(trail_, path_)),
      sharing_(request.sharing.value_or(MixRequest::Sharing{})),
      stepNoise_(generator_, size_.values(), request.layout.isPrompt() ? 0 : mixing_.iMax),
      sampler_(makeSampler(samplerOptions(request), networks.schedule(), stepNoise_)),
      reporter_(std::make_unique<Reporter>(progress,
                                           begin_.layoutSteps() + request.steps - begin_.content)),
      prompts_(mostPromptBytes) {}

MixRun::~MixRun() = default;

void MixRun::requireMemory() const {
    networks_.requireMemoryToMix(
        request_.size(),
        GuidedUnet::sessionsFor(request_, networks_.schedule(), timestepsToVisit()),
        networks_.hasTinyDecoder() && (request_.decoder == "tiny" || request_.previewEvery > 0));
}

MixResult MixRun::run() {
    encodePrompts();
    encodeLayout();
    layOut();
    mixContent();
    decode();
    result_.timings.steps = reporter_->unetSteps();
    result_.timings.total = millisecondsSince(start_);
    return std::move(result_);
}

// ---------------------------------------------------------------------------------------------
// Encode: the prompts to keys and values, the picture to a latent

/// All that the steps will ask for, so that whatever is wrong with one is found before the first.
void MixRun::encodePrompts() {
    std::map<std::string, StepPrompt> contents, layouts;
    std::map<std::string, int> negatives;
    const bool hasLayoutPrompt = request_.layout.isPrompt();
    for (int i = 0; i < request_.steps; i++) {
        const StepPrompt layout = layoutPromptAt(request_, i);
        const bool isAsked = i == 0 || i < mixing_.lastLayout();
        if (hasLayoutPrompt && isAsked) layouts.emplace(layout.of, layout);
        negatives.emplace(negativePromptAt(request_, i).of, i);
        if (i < mixing_.iMax) continue;
        const StepPrompt content = contentPromptAt(request_, i);
        contents.emplace(content.of, content);
    }
    const std::size_t layoutPictures = hasLayoutPrompt ? 0 : 1;
    reporter_->begin(Stage::Encode, static_cast<int>(contents.size() + layouts.size() +
                                                     negatives.size() + layoutPictures));
    const auto encode = [&](const auto &prompts, const auto &make) {
        for (const auto &[of, prompt] : prompts) {
            make(prompt);
            reporter_->done();
        }
    };
    const auto ofText = [&](const StepPrompt &prompt) { contextOf(prompt); };
    encode(contents, ofText);
    encode(negatives, [&](int i) { contextOfNegative(i); });
    encode(layouts, ofText);
}

Conditioning MixRun::encoded(const Tokens &tokens) {
    Conditioning conditioning = encodePrompt(networks_.texts(), tokens, cancel_);
    requireFinite(conditioning.context, "the text encoder");
    requireFinite(conditioning.pooled, "the text encoder");
    return conditioning;
}

PromptPointer MixRun::contextOfNegative(int i) {
    const Architecture &architecture = networks_.architecture;
    const bool isEmpty = request_.negativeAt(i) == emptyPrompt(architecture.texts[0].padding);
    if (!isEmpty || !architecture.zerosForEmptyPrompt) {
        return contextOf(negativePromptAt(request_, i));
    }
    const std::string key = "no prompt";
    if (auto context = prompts_.find<PromptContext>(key)) return context;
    auto context = std::make_shared<PromptContext>(
        noPrompt(networks_.unet().network, architecture.texts.back().pooledWidth));
    prompts_.keep<PromptContext>(key, context, bytesIn(*context));
    return context;
}

PromptPointer MixRun::contextOf(const StepPrompt &prompt) {
    const std::string key = "prompt " + std::to_string(loras_.version()) + " " + prompt.of;
    if (auto context = prompts_.find<PromptContext>(key)) return context;
    PromptPointer context = kept_.find<PromptContext>(key);
    if (!context) {
        context = madeContext(prompt);
        kept_.keep<PromptContext>(key, context, bytesIn(*context));
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
    case Blend::Layout: return madeContext(encoded(*layout));
    case Blend::Content: return madeContext(encoded(*content));
    case Blend::Interpolated:
        return madeContext(
            interpolate(encoded(*layout), encoded(*content), request_.weightOfSecond()));
    case Blend::Swapped:
        return madeContext(swapped(encoded(*layout), encoded(*content), request_.weightOfSecond(),
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
    if (!request_.layout.isPrompt()) {
        z0_ = encodedPicture();
        reporter_->done();
    }
    noise_ = generator_.randn(size_.values());
    result_.timings.encode = millisecondsSince(start_);
}

/// The latent of the layout's picture, which is the same whatever the weights of the UNet are.
Latent MixRun::encodedPicture() {
    const std::string key =
        "picture " + std::to_string(request_.width) + " " + bytesOf(request_.layout.pixels);
    if (const auto kept = kept_.find<Latent>(key)) return *kept;
    Latent z0 =
        encodeMean(networks_.vae(), toPlanes(request_.layout.pixels), request_.size(), cancel_);
    requireFiniteVae(z0);
    multiply(z0, networks_.vae().network.scalingFactor());
    kept_.keep<Latent>(key, std::make_shared<const Latent>(z0), z0.size() * sizeof(float));
    return z0;
}

// ---------------------------------------------------------------------------------------------
// Layout and content

void MixRun::layOut() {
    if (begin_.layoutSteps() > 0 || begin_.content < request_.steps) {
        unet_ = std::make_unique<GuidedUnet>(networks_, request_, *reporter_, cancel_);
        unet_->prepare(timestepsToVisit());
    }
    if (!request_.layout.isPrompt()) {
        layout_ = pictureLayout(*sampler_, z0_, noise_, mixing_.iMax);
        return;
    }
    reporter_->begin(Stage::Layout, begin_.layoutSteps());
    const auto denoise = [&](const Latent &x, int i, double t) {
        unet_->setNegative(contextOfNegative(i));
        return unet_->denoise(x, t, contextOf(layoutPromptAt(request_, i)),
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
        unet_->setNegative(contextOfNegative(i));
        return unet_->denoise(x, t, contentAt(i), trail_.contentStep(i).whole);
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
    content_.reset();
    prompts_ = Kept(0);
}

Sampler::Run MixRun::runFrom(const std::shared_ptr<const SharedState> &there) {
    Sampler::Run run = sampler_->run();
    if (there) run.remember(there->memory);
    return run;
}

/// The prompt of step i: another than before only where it changes, or where the window of a scale
/// begins or ends.
PromptPointer MixRun::contentAt(int i) {
    const StepPrompt prompt = contentPromptAt(request_, i);
    const std::vector<float> scales = contentScalesAt(request_, i);
    const std::string of = Description().add(prompt.of).add(scales).text();
    if (of != contentOf_) {
        contentOf_ = of;
        content_ = contextOf(prompt);
        const bool none =
            std::all_of(scales.begin(), scales.end(), [](float scale) { return scale == 1; });
        if (!none) content_ = std::make_shared<PromptContext>(scaled(*content_, scales));
    }
    return content_;
}

std::vector<double> MixRun::timestepsToVisit() const {
    std::vector<double> all;
    for (int i = request_.layout.isPrompt() ? 0 : mixing_.iMax; i < request_.steps; i++) {
        all.push_back(sampler_->timestep(i));
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
// Decode: the latent to pixels

void MixRun::decode() {
    reporter_->begin(Stage::Decode, 1);
    const auto start = Clock::now();
    std::vector<float> planes;
    if (request_.decoder == "tiny") {
        planes = tinyPicture(mixed_);
    } else {
        tinyDecoder_.reset(); // its working memory goes back before the decoder takes its own
        planes = decodeScaled(networks_.vae(), mixed_, size_, cancel_);
        requireFiniteVae(planes);
    }
    result_.picture = {request_.width, request_.height, toRgb(planes)};
    result_.timings.decode = millisecondsSince(start);
    reporter_->done();
}

} // namespace magicmix
