#include "checkpoint/safetensors.h"
#include "target.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size) {
    using namespace magicmix;
    readAndOpen(data, size,
                [](const auto &file) { return readSafetensors(file, never()).tensors; });
    return 0;
}
