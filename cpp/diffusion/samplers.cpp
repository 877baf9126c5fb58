#include "diffusion/samplers.h"

#include "base/error.h"
#include "diffusion/ddim.h"
#include "diffusion/dpm_solver.h"
#include "diffusion/euler.h"
#include "diffusion/lcm.h"

#include <algorithm>

namespace magicmix {
namespace {

using Options = SamplerOptions;

bool isKarras(const Options &options) { return options.spacing == "karras"; }

struct Kind {
    const char *name;
    Levels (*levels)(const Options &options, const Schedule &schedule);
    std::unique_ptr<Sampler::Aim> (*aim)(const Levels &levels); ///< null: what the network says
    bool spaced;                                                ///< has it a choice of timesteps?
    bool clipped; ///< does the schedule's `clipRange` count?
};

// One row each. What the steps compute stands in the samplers' own files.
const Kind kSamplers[] = {
    {"ddim", [](const Options &o, const Schedule &s) { return ddimLevels(s, o.steps, o.eta); },
     nullptr, true, true},
    {"euler", [](const Options &o, const Schedule &s) { return eulerLevels(s, o.steps, false); },
     nullptr, true, false},
    {"euler_a", [](const Options &o, const Schedule &s) { return eulerLevels(s, o.steps, true); },
     nullptr, true, false},
    {"dpm++2m",
     [](const Options &o, const Schedule &s) { return dpmSolverLevels(s, o.steps, isKarras(o)); },
     dpmSolverAim, true, false},
    {"lcm", [](const Options &o, const Schedule &s) { return lcmLevels(s, o.steps); }, lcmAim,
     false, true},
    {"tcd", [](const Options &o, const Schedule &s) { return tcdLevels(s, o.steps, o.gamma); },
     nullptr, false, true},
};

const Kind &kindOf(const Options &options) {
    std::string known;
    for (const Kind &kind : kSamplers) {
        if (options.name == kind.name) return kind;
        known += (known.empty() ? "" : ", ") + std::string(kind.name);
    }
    throw Error("INVALID_ARGUMENT", "sampler '" + options.name + "' is unknown; known: " + known,
                {{"name", "sampler"}});
}

/// What one sampler has and another does not is refused, not passed over.
void checkOptions(const Options &options, const Kind &kind) {
    const auto refuse = [&](const char *option, const std::string &why) {
        throw Error("INVALID_ARGUMENT",
                    std::string(option) + " is of no use to the sampler '" + kind.name +
                        "': " + why,
                    {{"name", option}, {"sampler", options.name}});
    };
    if (options.eta != 0 && options.name != "ddim") {
        refuse("eta", "only ddim has it; euler_a is ddim with eta 1");
    }
    if (options.gamma != Options{}.gamma && options.name != "tcd") {
        refuse("gamma", "only tcd has it");
    }
    if (!options.spacing.empty() && !kind.spaced) {
        refuse("spacing", "it visits the timesteps that models for it were distilled at");
    }
    if (isKarras(options) && options.name != "dpm++2m") {
        refuse("spacing 'karras'", "only dpm++2m has it");
    }
}

Schedule spaced(Schedule schedule, const Options &options) {
    if (!options.spacing.empty() && !isKarras(options)) {
        schedule.spacing = parseSpacing(options.spacing);
    }
    return schedule;
}

} // namespace

std::vector<std::string> samplerNames() {
    std::vector<std::string> names;
    for (const Kind &kind : kSamplers) names.push_back(kind.name);
    return names;
}

Levels samplerLevels(const SamplerOptions &options, const Schedule &schedule) {
    const Kind &kind = kindOf(options);
    checkOptions(options, kind);
    return kind.levels(options, spaced(schedule, options));
}

std::unique_ptr<Sampler> makeSampler(const SamplerOptions &options, const Schedule &schedule,
                                     StepNoise &noise) {
    const Kind &kind = kindOf(options);
    return std::make_unique<Sampler>(
        samplerLevels(options, schedule), schedule.prediction.value_or(Prediction::Noise),
        kind.clipped ? schedule.clipRange : std::nullopt, noise, kind.aim);
}

} // namespace magicmix
