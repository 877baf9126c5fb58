#include "target.h"

#include "base/error.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/leftovers.h"
#include "engine/inspect.h"

#include <algorithm>

#include <cstdio>
#include <cstdlib>

#include <sys/mman.h>
#include <unistd.h>

namespace magicmix {
namespace {

// Read by nobody: it keeps the compiler from leaving reads out.
volatile unsigned touched = 0;

void require(bool done, const char *what) {
    if (!done) {
        std::perror(what);
        std::exit(1);
    }
}

void touchEnds(const WeightSource::Values &values) {
    if (values.bytes == 0) return;
    touched = touched + std::to_integer<unsigned>(*values.data) +
              std::to_integer<unsigned>(values.data.get()[values.bytes - 1]);
}

} // namespace

const Cancellation &never() {
    static const Cancellation cancel;
    return cancel;
}

namespace {

std::string fileOf(const void *data, std::size_t bytes, std::size_t size) {
    static const int file = ::memfd_create("checkpoint", MFD_CLOEXEC);
    require(file >= 0, "memfd_create");
    require(::ftruncate(file, 0) == 0 && ::ftruncate(file, static_cast<off_t>(size)) == 0,
            "ftruncate");
    require(::pwrite(file, data, bytes, 0) == static_cast<ssize_t>(bytes), "pwrite");
    return "/proc/self/fd/" + std::to_string(file);
}

} // namespace

std::string memoryFile(const std::uint8_t *data, std::size_t size) {
    return fileOf(data, size, size);
}

std::string memoryFile(const std::string &head, std::size_t size) {
    return fileOf(head.data(), head.size(), std::max(size, head.size()));
}

bool expectErrorAtMost(const std::function<void()> &read) {
    try {
        read();
        return true;
    } catch (const Error &) {
        return false;
    }
}

void touch(const StoredTensors &tensors) {
    for (const auto &[name, tensor] : tensors) {
        const StoredTensor &one = tensor;
        expectErrorAtMost([&] { touchEnds(valuesOf(one)); });
    }
}

void openAsModel(const std::string &path) {
    ModelFiles files;
    files.model = path;
    const Checkpoint checkpoint = Checkpoint::open(files, never());
    inspect(checkpoint, {});
    for (const auto &[name, tensor] : checkpoint.tensors()) {
        const std::string &one = name;
        expectErrorAtMost([&] { touchEnds(checkpoint.read(one)); });
    }
}

void readAndOpen(const std::uint8_t *data, std::size_t size, const Reader &reader) {
    const std::string path = memoryFile(data, size);
    expectErrorAtMost([&] { refuseLeftovers(*InputFile::open(path)); });
    if (!expectErrorAtMost([&] { touch(reader(InputFile::open(path))); })) return;
    expectErrorAtMost([&] { openAsModel(path); });
}

} // namespace magicmix
