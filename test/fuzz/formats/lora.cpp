#include "lora/lora_file.h"
#include "target.h"

namespace magicmix {
namespace {

/// Adds whatever fits to weights of a few shapes, which are those of the seeds.
void addTo(const std::vector<LoraChange> &changes, const std::string &path) {
    const std::vector<std::int64_t> shapes[] = {{4}, {4, 4}, {4, 6}, {4, 4, 3, 3}, {4, 4, 1, 1}};
    for (const auto &change : changes) {
        for (const auto &shape : shapes) {
            expectErrorAtMost([&] {
                checkFit(change, shape, path, "");
                std::vector<float> sum(elementCount(shape, "weight"), 0.5f);
                addChange(change, 0.5f, WeightSource::Values::owning(shape, sum), sum);
            });
        }
    }
}

} // namespace
} // namespace magicmix

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size) {
    using namespace magicmix;
    const std::string path = memoryFile(data, size);
    expectErrorAtMost([&] {
        const auto file = LoraFile::open(path, Cancellation());
        for (const auto &[name, module] : file->modules) {
            addTo(module.weight, path);
            addTo(module.bias, path);
        }
    });
    return 0;
}
