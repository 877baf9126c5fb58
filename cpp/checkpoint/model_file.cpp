#include "checkpoint/model_file.h"

#include "base/error.h"
#include "checkpoint/gguf.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/torch.h"

#include <cstddef>

namespace magicmix {
namespace {

/// A pickle with nothing of torch around it, of protocols 2 to 5.
bool looksLikeBarePickle(const MappedFile &file) {
    return file.size() >= 2 && file.data()[0] == std::byte{0x80} &&
           file.data()[1] >= std::byte{2} && file.data()[1] <= std::byte{5};
}

} // namespace

ModelFile readModelFile(const std::string &path) {
    const auto file = MappedFile::open(path);
    if (looksLikeGguf(*file)) {
        GgufFile gguf = readGguf(path);
        return {"gguf", std::move(gguf.tensors), std::move(gguf.config), {}};
    }
    if (looksLikeTorch(*file)) return {"ckpt", readTorch(path), {}, {}};
    if (looksLikeBarePickle(*file)) {
        throw Error("MODEL_UNSUPPORTED",
                    "'" + path + "' is a pickle that torch.save has not written, which is not read",
                    {{"path", path}});
    }
    SafetensorsFile safetensors = readSafetensors(path);
    return {"safetensors", std::move(safetensors.tensors), std::move(safetensors.config),
            std::move(safetensors.metadata)};
}

} // namespace magicmix
