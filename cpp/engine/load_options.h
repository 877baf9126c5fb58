#pragma once

#include "checkpoint/checkpoint.h"
#include "embeddings/embedding.h"
#include "lora/lora.h"
#include "model/model_config.h"

#include <string>
#include <vector>

namespace magicmix {

struct LoadOptions {
    ModelFiles files;
    /// 1: text states behind the text encoder's last layer; 2: the one before; 0: as the family has
    /// them.
    int clipSkip = 0;
    std::vector<EmbeddingFile> embeddings;
    std::string device = "cpu"; ///< an id of `listDevices`
    bool textEncoderOnCpu = false, vaeOnCpu = false;
    /// Text encoders are read from the files when a new prompt comes, and given back.
    bool releaseTextEncoders = false;
    /// Type of the large weights: "auto", "f32", "f16", "bf16", "q8_0" (on the CPU only).
    std::string precision = "auto";
    std::string kernels; ///< the best instruction set allowed, or "off"; empty: no limit
    int threads = 0;     ///< CPU threads, at most one per core; 0: one per core
    ModelConfig config;  ///< wins over the files' own
    std::uint64_t keptBytes =
        0;                   ///< of what mixes have encoded, to be kept for the next; 0: nothing
    std::vector<Lora> loras; ///< merged into the weights, unless a request has others
};

} // namespace magicmix
