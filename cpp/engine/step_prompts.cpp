#include "engine/step_prompts.h"

#include "engine/description.h"

namespace magicmix {

StepPrompt promptOfText(Blend how, const Tokens &tokens) {
    StepPrompt prompt;
    prompt.how = how;
    (how == Blend::Layout ? prompt.layout : prompt.content) = &tokens;
    prompt.of = Description().add(tokens).text(); // whatever it is the prompt of
    return prompt;
}

StepPrompt contentPromptAt(const MixRequest &request, int i, std::size_t c) {
    const Method &method = request.method;
    const Blend how = blendAt(method, i, request.steps);
    if (how == Blend::Layout) return layoutPromptAt(request, i);
    const Tokens &content = request.contents[c].textAt(i);
    StepPrompt prompt = promptOfText(Blend::Content, content);
    if (how == Blend::Content) {
        const auto &other = request.interpolate;
        if (!other) return prompt;
        // The content and the other prompt, as the method has the layout's and the content.
        prompt.how = Blend::Interpolated;
        prompt.layout = &content;
        prompt.content = &other->tokens;
    } else {
        prompt.how = how;
        prompt.layout = &request.layoutAt(i);
    }
    Description of;
    of.add(static_cast<double>(prompt.how)).add(*prompt.layout).add(*prompt.content);
    if (prompt.how != Blend::Split) of.add(request.weightOfSecond());
    if (prompt.how == Blend::Swapped) of.add(static_cast<double>(method.draw));
    prompt.of = of.text();
    return prompt;
}

StepPrompt layoutPromptAt(const MixRequest &request, int i) {
    return promptOfText(Blend::Layout, request.layoutAt(i));
}

StepPrompt negativePromptAt(const MixRequest &request, int i) {
    return promptOfText(Blend::Content, request.negativeAt(i));
}

std::vector<float> contentScalesAt(const MixRequest &request, int i, std::size_t c) {
    if (blendAt(request.method, i, request.steps) == Blend::Layout) return tokenScales({});
    std::vector<AttentionScale> ofText;
    const MixRequest::Content &content = request.contents[c];
    const int text = content.edit.at(i);
    for (const AttentionScale &scale : content.attention) {
        if (scale.text == text) ofText.push_back(scale);
    }
    return tokenScalesAt(ofText, i, request.steps);
}

} // namespace magicmix
