#include "tensor/device.h"

#include "engine.h"
#include "tensor/turn.h"

#include <algorithm>
#include <cctype>
#include <fstream>
#include <optional>
#include <sstream>
#include <thread>

namespace magicmix {
namespace {

// Beyond this ggml asserts.
constexpr int kMaxThreads = GGML_MAX_N_THREADS;

/// Floating point operations from which on a graph gets several threads: some 20 ms of one core.
/// ggml's threads meet after every node, spinning. In a small graph they do nothing else, and when
/// something else runs on their cores each meeting takes a time slice of the system.
constexpr double kWorthThreads = 1e9;

/// ggml would write its messages to the standard error of somebody else's program. What went wrong
/// reaches the caller as an `Error`.
void keepSilent(ggml_log_level, const char *, void *) {}

std::string lower(std::string text) {
    std::transform(text.begin(), text.end(), text.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return text;
}

bool isGpu(ggml_backend_dev_t device) {
    const auto type = ggml_backend_dev_type(device);
    return type == GGML_BACKEND_DEVICE_TYPE_GPU || type == GGML_BACKEND_DEVICE_TYPE_IGPU;
}

bool isCpuDevice(ggml_backend_dev_t device) {
    return ggml_backend_dev_type(device) == GGML_BACKEND_DEVICE_TYPE_CPU;
}

/// "cpu", "cuda", "metal", "vulkan", as ggml's registry calls them.
std::string backendName(ggml_backend_dev_t device) {
    const std::string name = lower(ggml_backend_reg_name(ggml_backend_dev_backend_reg(device)));
    return name == "mtl" ? "metal" : name;
}

struct Candidate {
    ggml_backend_dev_t device;
    std::string id, backend;
};

/// GPUs in the registry's order, then the CPU. Ids count the devices of one backend.
std::vector<Candidate> candidates() {
    ggml_log_set(keepSilent, nullptr);
    std::vector<Candidate> gpus, cpus;
    std::map<std::string, int> count;
    for (std::size_t i = 0; i < ggml_backend_dev_count(); i++) {
        const auto device = ggml_backend_dev_get(i);
        const std::string backend = backendName(device);
        if (isGpu(device)) {
            gpus.push_back({device, backend + ":" + std::to_string(count[backend]++), backend});
        } else if (isCpuDevice(device)) {
            cpus.push_back({device, "cpu", backend});
        }
    }
    gpus.insert(gpus.end(), cpus.begin(), cpus.end());
    return gpus;
}

/// What Linux says could be had without swapping; 0 where it does not say.
std::uint64_t availableSystemMemory() {
    std::ifstream info("/proc/meminfo");
    std::string key;
    std::uint64_t kilobytes = 0;
    std::string line;
    while (std::getline(info, line)) {
        std::istringstream words(line);
        if (words >> key >> kilobytes && key == "MemAvailable:") return kilobytes * 1024;
    }
    return 0;
}

std::uint64_t freeMemory(ggml_backend_dev_t device) {
    std::size_t free = 0, total = 0;
    ggml_backend_dev_memory(device, &free, &total);
    if (isCpuDevice(device)) {
        const std::uint64_t available = availableSystemMemory();
        if (available != 0) return available;
    }
    return free;
}

std::uint64_t totalMemory(ggml_backend_dev_t device) {
    std::size_t free = 0, total = 0;
    ggml_backend_dev_memory(device, &free, &total);
    return total;
}

int coreCount() { return std::max(1, static_cast<int>(std::thread::hardware_concurrency())); }

bool cancellationRequested(void *cancellation) {
    return static_cast<const Cancellation *>(cancellation)->requested();
}

} // namespace

std::vector<DeviceInfo> listDevices() {
    std::vector<DeviceInfo> devices;
    for (const auto &candidate : candidates()) {
        DeviceInfo info;
        info.id = candidate.id;
        info.backend = candidate.backend;
        info.description = ggml_backend_dev_description(candidate.device);
        info.available = true;
        info.totalMemory = totalMemory(candidate.device);
        info.freeMemory = freeMemory(candidate.device);
        devices.push_back(std::move(info));
    }
    for (const char *backend : {"cuda", "metal", "vulkan"}) {
        const bool present = std::any_of(devices.begin(), devices.end(),
                                         [&](const auto &d) { return d.backend == backend; });
        if (present) continue;
        bool registered = false;
        for (std::size_t i = 0; i < ggml_backend_reg_count(); i++) {
            const std::string name = lower(ggml_backend_reg_name(ggml_backend_reg_get(i)));
            registered =
                registered || name == backend || (name == "mtl" && backend == std::string("metal"));
        }
        DeviceInfo info;
        info.id = backend;
        info.backend = backend;
        info.reason = registered ? "no such device was found by its driver"
                                 : std::string("this binary was built without ") + backend;
        devices.push_back(std::move(info));
    }
    return devices;
}

Device Device::open(const std::string &id, int threads) {
    const auto all = candidates();
    const auto found = std::find_if(all.begin(), all.end(), [&](const Candidate &c) {
        return id == "auto" || id == c.id || id == c.backend;
    });
    if (found == all.end()) {
        std::string known = "auto";
        for (const auto &candidate : all) known += ", " + candidate.id;
        throw Error("DEVICE_UNAVAILABLE",
                    "device '" + id + "' is not available here; available: " + known,
                    {{"device", id}});
    }

    Device device;
    device.id_ = found->id;
    // More threads than cores would wait for each other most of the time.
    const int most = std::min(coreCount(), kMaxThreads);
    device.threads_ = threads > 0 ? std::min(threads, most) : most;
    device.backend_.reset(ggml_backend_dev_init(found->device, nullptr));
    if (!device.backend_) {
        throw Error("DEVICE_UNAVAILABLE", "device '" + found->id + "' could not be initialised",
                    {{"device", found->id}});
    }

    const auto registry = ggml_backend_dev_backend_reg(found->device);
    device.setThreads_ = reinterpret_cast<ggml_backend_set_n_threads_t>(
        ggml_backend_reg_get_proc_address(registry, "ggml_backend_set_n_threads"));
    device.setAbortCallback_ = reinterpret_cast<ggml_backend_set_abort_callback_t>(
        ggml_backend_reg_get_proc_address(registry, "ggml_backend_set_abort_callback"));
    return device;
}

ggml_backend_buffer_type_t Device::bufferType() const {
    return ggml_backend_get_default_buffer_type(backend());
}

bool Device::isCpu() const { return isCpuDevice(ggml_backend_get_device(backend())); }

const kernels::Kernels *Device::kernels(Precision precision) const {
    return isCpu() ? kernels::chooseKernels(storageOf(precision)) : nullptr;
}

void Device::requireMemory(std::uint64_t bytes, const std::string &purpose) const {
    const std::uint64_t free = freeMemory(ggml_backend_get_device(backend()));
    if (free == 0 || bytes <= free) return;
    const auto mebibytes = [](std::uint64_t n) { return std::to_string((n + 1048575) / 1048576); };
    throw Error("OUT_OF_MEMORY",
                purpose + " needs " + mebibytes(bytes) + " MiB on device '" + id_ + "', but only " +
                    mebibytes(free) + " MiB are free",
                {{"neededBytes", static_cast<double>(bytes)},
                 {"freeBytes", static_cast<double>(free)},
                 {"device", id_}});
}

void Device::compute(ggml_cgraph *graph, double operations, const Cancellation &cancel) {
    cancel.throwIfRequested();
    std::optional<Turn> turn;
    if (setThreads_) {
        const bool several = threads_ > 1 && operations > kWorthThreads;
        setThreads_(backend(), several ? threads_ : 1);
        if (several) turn.emplace(cancel);
    }
    if (setAbortCallback_) {
        setAbortCallback_(backend(), cancellationRequested, const_cast<Cancellation *>(&cancel));
    }
    const ggml_status status = ggml_backend_graph_compute(backend(), graph);
    if (setAbortCallback_) setAbortCallback_(backend(), nullptr, nullptr);

    cancel.throwIfRequested();
    if (status == GGML_STATUS_ALLOC_FAILED) {
        throw Error("OUT_OF_MEMORY", "device '" + id_ + "' ran out of memory during a computation");
    }
    if (status != GGML_STATUS_SUCCESS) {
        throw Error("INTERNAL", std::string("device '") + id_ +
                                    "' failed to compute: " + ggml_status_to_string(status));
    }
}

} // namespace magicmix
