#pragma once

#include <ggml-backend.h>

#include <string>
#include <vector>

namespace magicmix {

// ggml's backends are the CPU's, which is part of this library, and those of shared libraries that
// `loadBackend` and `loadBestCpu` loaded. ggml's list of them is the process's, so
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
/// Whether the device is a software renderer: a driver that computes on the CPU.
bool isSoftware(ggml_backend_dev_t device);

/// Loads the shared library of a GPU's backend, unless it is loaded already: for the whole process,
/// and until its end. That runs code of the GPU's driver, which may crash: try it in another
/// process first. Throws `DEVICE_UNAVAILABLE` with the reason.
void loadBackend(const std::string &path);

/// Of libraries with the CPU's operations, each made for some instruction set, loads the one that
/// suits this machine best. The first call in a process counts; without it all runs on any CPU.
void loadBestCpu(const std::vector<std::string> &paths);

} // namespace magicmix
