#include "checkpoint/torch.h"
#include "target.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size) {
    using namespace magicmix;
    readAndOpen(data, size, [](const auto &file) { return readTorch(file, never()); });
    return 0;
}
