#include "engine/text_encoding.h"

namespace magicmix {

TextEncoding::~TextEncoding() {
    if (!networks_.keepsTexts()) networks_.textWeights().giveBack();
}

Conditioning TextEncoding::encode(const Tokens &tokens) {
    requireWeights();
    return encodePrompt(networks_.texts(), tokens, cancel_);
}

void TextEncoding::requireWeights() {
    Weights &weights = networks_.textWeights();
    if (weights.areLoaded()) return;
    source_.files.requireUnchanged();
    networks_.loadTexts(source_.weights, cancel_);
    try {
        source_.loras.mergeInto(weights, networks_.textDevice(), cancel_);
    } catch (...) {
        weights.giveBack(); // some have their changes, and others not
        throw;
    }
}

} // namespace magicmix
