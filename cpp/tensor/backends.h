#pragma once

#include <ggml-backend.h>

#include <string>
#include <vector>

namespace magicmix {

// ggml's backends are the CPU's, which is part of this library, and those of shared libraries that
// `loadBackend` and `loadBestCpu` (engine.h) loaded. ggml's list of them is the process's, so
// loading is too: what one thread loads all can use. All functions may be called from any thread.

/// Something that computes.
struct BackendDevice {
    ggml_backend_dev_t device;
    std::string id;      ///< "cpu", "cuda:0", "vulkan:1": counted within its backend
    std::string backend; ///< "cpu", "cuda", "metal", "vulkan"
};

/// GPUs in the order in which their backends were loaded, then the CPU.
std::vector<BackendDevice> backendDevices();

bool isCpu(ggml_backend_dev_t device);
/// Whether a driver only pretends to be a GPU, and computes on the CPU.
bool isSoftware(ggml_backend_dev_t device);

} // namespace magicmix
