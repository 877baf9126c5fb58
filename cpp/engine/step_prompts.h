#pragma once

#include "engine/request.h"
#include "mix/blending.h"

#include <string>

namespace magicmix {

/// What the prompt of a step is made of, before anything is encoded.
struct StepPrompt {
    Blend how = Blend::Content;
    const Tokens *layout = nullptr, *content = nullptr; ///< null where they have no part in it
    std::string of;                                     ///< equal where the prompts are
};

/// One text, as the layout's prompt or another.
StepPrompt promptOfText(Blend how, const Tokens &tokens);

/// Of content c in step i of the run that ends in the picture. The request outlives what they give.
StepPrompt contentPromptAt(const MixRequest &request, int i, std::size_t c);
/// Of step i of a layout prompt's own run.
StepPrompt layoutPromptAt(const MixRequest &request, int i);
StepPrompt negativePromptAt(const MixRequest &request, int i);

/// The factors of that content's tokens at step i: none where the step has the layout's prompt.
std::vector<float> contentScalesAt(const MixRequest &request, int i, std::size_t c);

} // namespace magicmix
