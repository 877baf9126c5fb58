#pragma once

#include "checkpoint/checkpoint.h"
#include "engine/networks.h"
#include "engine/request.h"
#include "lora/loras.h"
#include "model/conditioning.h"

namespace magicmix {

/// Where the weights of text encoders come from when they are wanted again.
struct TextSource {
    const Checkpoint &files;
    const WeightSource &weights; ///< what the files have, with learnt tokens
    Loras &loras;
};

/// The text encoders at work. Where they are not kept, the first prompt has their weights read, and
/// they are given back at the end.
class TextEncoding {
public:
    /// Everything that is passed outlives it.
    TextEncoding(Networks &networks, const TextSource &source, const Cancellation &cancel)
        : networks_(networks), source_(source), cancel_(cancel) {}
    ~TextEncoding();
    TextEncoding(const TextEncoding &) = delete;
    TextEncoding &operator=(const TextEncoding &) = delete;

    /// Throws what `Checkpoint::requireUnchanged` throws, and `MODEL_FORMAT`.
    Conditioning encode(const Tokens &tokens);

private:
    void requireWeights();

    Networks &networks_;
    const TextSource &source_;
    const Cancellation &cancel_;
};

} // namespace magicmix
