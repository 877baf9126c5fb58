#include "diffusion/samplers.h"

#include "base/error.h"
#include "diffusion/ddim.h"

namespace magicmix {
namespace {

using Options = SamplerOptions;
using Result = std::unique_ptr<Sampler>;

struct Kind {
    const char *name;
    Result (*make)(const Options &options, const Schedule &schedule, Generator &generator);
};

const Kind kSamplers[] = {
    {"ddim",
     [](const Options &options, const Schedule &schedule, Generator &generator) -> Result {
         return std::make_unique<Ddim>(schedule, options.steps, options.eta, generator);
     }},
};

} // namespace

std::vector<std::string> samplerNames() {
    std::vector<std::string> names;
    for (const Kind &kind : kSamplers) names.push_back(kind.name);
    return names;
}

std::unique_ptr<Sampler> makeSampler(const SamplerOptions &options, const Schedule &schedule,
                                     Generator &generator) {
    std::string known;
    for (const Kind &kind : kSamplers) {
        if (options.name == kind.name) return kind.make(options, schedule, generator);
        known += (known.empty() ? "" : ", ") + std::string(kind.name);
    }
    throw Error("INVALID_ARGUMENT", "sampler '" + options.name + "' is unknown; known: " + known,
                {{"name", "sampler"}});
}

} // namespace magicmix
