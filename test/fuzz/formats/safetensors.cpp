#include "checkpoint/safetensors.h"
#include "target.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size) {
    const std::string path = magicmix::memoryFile(data, size);
    magicmix::expectErrorAtMost([&] {
        magicmix::touch(
            magicmix::readSafetensors(magicmix::InputFile::open(path), magicmix::never()).tensors);
    });
    magicmix::expectErrorAtMost([&] { magicmix::openAsModel(path); });
    return 0;
}
