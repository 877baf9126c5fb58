#include "checkpoint/model_file.h"

#include "base/error.h"
#include "checkpoint/gguf.h"
#include "checkpoint/leftovers.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/torch.h"

#include <cstddef>

namespace magicmix {
namespace {

/// A pickle with nothing of torch around it, of protocols 2 to 5.
bool looksLikeBarePickle(const InputFile &file) {
    const auto head = file.read(0, file.size() >= 2 ? 2 : 0);
    return !head.empty() && head[0] == std::byte{0x80} && head[1] >= std::byte{2} &&
           head[1] <= std::byte{5};
}

} // namespace

ModelFile readModelFile(const std::string &path, const Cancellation &cancel) {
    const auto file = InputFile::open(path);
    refuseLeftovers(*file);
    if (looksLikeGguf(*file)) {
        GgufFile gguf = readGguf(file, cancel);
        return {"gguf", std::move(gguf.tensors), std::move(gguf.config), {}};
    }
    if (looksLikeTorch(*file)) return {"ckpt", readTorch(file, cancel), {}, {}};
    if (looksLikeBarePickle(*file)) {
        throw Error("MODEL_UNSUPPORTED",
                    "'" + path + "' is a pickle that torch.save has not written, which is not read",
                    {{"path", path}});
    }
    SafetensorsFile safetensors = readSafetensors(file, cancel);
    return {"safetensors", std::move(safetensors.tensors), std::move(safetensors.config),
            std::move(safetensors.metadata)};
}

} // namespace magicmix
