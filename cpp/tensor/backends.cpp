#include "tensor/backends.h"

#include "base/error.h"
#include "tensor/shared_library.h"

#include <ggml.h>

#include <algorithm>
#include <cctype>
#include <map>
#include <memory>
#include <mutex>
#include <set>

namespace magicmix {
namespace {

/// State beside ggml's list of backends, of which a process has one.
struct Registry {
    std::mutex mutex;
    std::set<std::string> loaded;
    bool cpuChosen = false;
};

Registry &registry() {
    static Registry instance;
    return instance;
}

/// ggml would write its messages to the standard error of somebody else's program. What went wrong
/// reaches the caller as an `Error`.
void keepSilent(ggml_log_level, const char *, void *) {}

using Init = ggml_backend_reg_t();
using Score = int();
using Prepare = const char *(ggml_log_callback); // gives the version of ggml

/// Adds the library's backend to ggml's list.
void add(SharedLibrary &library, const std::string &path) {
    const auto prepare = library.find<Prepare>("magicmix_backend_prepare");
    const auto init = library.find<Init>("ggml_backend_init");
    if (prepare == nullptr || init == nullptr) {
        throw Error("DEVICE_UNAVAILABLE", "'" + path + "' is not a backend of magicmix",
                    {{"path", path}});
    }
    const std::string version = prepare(keepSilent);
    if (version != ggml_version()) {
        throw Error("DEVICE_UNAVAILABLE",
                    "'" + path + "' has ggml " + version + ", this addon has " + ggml_version() +
                        ": install the same version of both",
                    {{"path", path}});
    }
    const ggml_backend_reg_t backend = init();
    if (backend == nullptr) {
        throw Error("DEVICE_UNAVAILABLE", "its driver could not be initialised", {{"path", path}});
    }
    ggml_backend_register(backend);
    library.stay();
}

bool isGpu(ggml_backend_dev_t device) {
    const auto type = ggml_backend_dev_type(device);
    return type == GGML_BACKEND_DEVICE_TYPE_GPU || type == GGML_BACKEND_DEVICE_TYPE_IGPU;
}

std::string lower(std::string text) {
    std::transform(text.begin(), text.end(), text.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return text;
}

/// "cuda", "metal", "vulkan", as people call what ggml's list has as "CUDA", "MTL" and "Vulkan".
std::string backendName(ggml_backend_dev_t device) {
    const std::string name = lower(ggml_backend_reg_name(ggml_backend_dev_backend_reg(device)));
    return name == "mtl" ? "metal" : name;
}

} // namespace

void loadBackend(const std::string &path) {
    Registry &all = registry();
    const std::lock_guard<std::mutex> lock(all.mutex);
    if (all.loaded.count(path) > 0) return;
    SharedLibrary library(path);
    add(library, path);
    all.loaded.insert(path);
}

void loadBestCpu(const std::vector<std::string> &paths) {
    Registry &all = registry();
    const std::lock_guard<std::mutex> lock(all.mutex);
    if (all.cpuChosen) return;
    all.cpuChosen = true;

    std::unique_ptr<SharedLibrary> best;
    const std::string *bestPath = nullptr;
    int bestScore = 0; // what cannot run here has 0
    for (const std::string &path : paths) {
        auto library = std::make_unique<SharedLibrary>(path);
        const auto score = library->find<Score>("ggml_backend_score");
        if (score == nullptr || score() <= bestScore) continue;
        bestScore = score();
        bestPath = &path;
        best = std::move(library);
    }
    if (best) add(*best, *bestPath);
}

std::vector<BackendDevice> backendDevices() {
    const std::lock_guard<std::mutex> lock(registry().mutex);
    ggml_log_set(keepSilent, nullptr);
    std::vector<BackendDevice> devices;
    ggml_backend_dev_t cpu = nullptr;
    std::map<std::string, int> count;
    for (std::size_t i = 0; i < ggml_backend_dev_count(); i++) {
        const auto device = ggml_backend_dev_get(i);
        if (isGpu(device)) {
            const std::string backend = backendName(device);
            devices.push_back({device, backend + ":" + std::to_string(count[backend]++), backend});
        } else if (isCpu(device)) {
            cpu = device; // a loaded one comes after the one inside
        }
    }
    if (cpu != nullptr) devices.push_back({cpu, "cpu", "cpu"});
    return devices;
}

bool isCpu(ggml_backend_dev_t device) {
    return ggml_backend_dev_type(device) == GGML_BACKEND_DEVICE_TYPE_CPU;
}

/// ggml does not report it; the names are those of Mesa, SwiftShader and Windows.
bool isSoftware(ggml_backend_dev_t device) {
    const std::string name = lower(ggml_backend_dev_description(device));
    const auto has = [&](const char *part) { return name.find(part) != std::string::npos; };
    return has("llvmpipe") || has("lavapipe") || has("softpipe") || has("swiftshader") ||
           has("basic render");
}

} // namespace magicmix
