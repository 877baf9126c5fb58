#include "tensor/device.h"

#include "base/error.h"
#include "tensor/backends.h"
#include "tensor/machine.h"

#include <algorithm>

namespace magicmix {
namespace {

/// On a GPU: each poll synchronises. A software renderer is slow enough to be polled after every
/// node; and that of Mesa 22.3 corrupts its heap on long submissions.
constexpr int kNodesBetweenLooks = 128;
constexpr int kNodesBetweenLooksInSoftware = 1;

std::uint64_t totalMemory(ggml_backend_dev_t device) {
    std::size_t free = 0, total = 0;
    ggml_backend_dev_memory(device, &free, &total);
    return total;
}

std::uint64_t freeMemory(ggml_backend_dev_t device) {
    std::size_t free = 0, total = 0;
    ggml_backend_dev_memory(device, &free, &total);
    if (magicmix::isCpu(device)) {
        const std::uint64_t available = machineShare().memory;
        if (available != 0) return available;
    }
    return free;
}

std::string kindOf(ggml_backend_dev_t device) {
    if (magicmix::isCpu(device)) return "cpu";
    if (isSoftware(device)) return "software";
    const bool integrated = ggml_backend_dev_type(device) == GGML_BACKEND_DEVICE_TYPE_IGPU;
    return integrated ? "integrated" : "discrete";
}

ggml_backend_ptr start(const BackendDevice &device) {
    ggml_backend_ptr backend(ggml_backend_dev_init(device.device, nullptr));
    if (backend) return backend;
    throw Error("DEVICE_UNAVAILABLE", "device '" + device.id + "' could not be initialised",
                {{"device", device.id}});
}

/// A function that ggml's backends may have beside those that all have.
template <typename Function>
Function find(const std::string &name, const BackendDevice &device) {
    const auto registry = ggml_backend_dev_backend_reg(device.device);
    return reinterpret_cast<Function>(
        ggml_backend_reg_get_proc_address(registry, ("ggml_backend_" + name).c_str()));
}

bool cancellationRequested(void *cancellation) {
    return static_cast<const Cancellation *>(cancellation)->requested();
}

} // namespace

std::vector<DeviceInfo> listDevices() {
    std::vector<DeviceInfo> devices;
    for (const auto &[device, id, backend] : backendDevices()) {
        DeviceInfo info;
        info.id = id;
        info.backend = backend;
        info.description = ggml_backend_dev_description(device);
        info.kind = kindOf(device);
        info.totalMemory = totalMemory(device);
        info.freeMemory = freeMemory(device);
        devices.push_back(std::move(info));
    }
    return devices;
}

Device Device::open(const std::string &id, int threads, const std::string &bestKernels) {
    const auto all = backendDevices();
    const auto found =
        std::find_if(all.begin(), all.end(), [&](const BackendDevice &d) { return d.id == id; });
    if (found == all.end()) {
        std::string known;
        for (const auto &other : all) known += (known.empty() ? "" : ", ") + other.id;
        throw Error("DEVICE_UNAVAILABLE",
                    "device '" + id + "' is not available here; available: " + known,
                    {{"device", id}});
    }

    Device device;
    device.id_ = id;
    device.backendName_ = found->backend;
    device.bestKernels_ = bestKernels;
    device.pool_ = ThreadPool::ofProcess();
    device.threads_ = device.pool_->prepare(threads > 0 ? threads : machineShare().cores);
    device.backend_ = start(*found);
    if (!device.isCpu()) device.helper_ = start(all.back());

    // Only the CPU has these two.
    find<ggml_backend_set_n_threads_t>("set_n_threads", all.back())(
        device.isCpu() ? device.backend() : device.helper(), 1);
    device.setAbortCallback_ =
        find<ggml_backend_set_abort_callback_t>("set_abort_callback", all.back());
    return device;
}

ggml_backend_buffer_type_t Device::bufferType() const {
    return ggml_backend_get_default_buffer_type(backend());
}

std::uint64_t Device::memory() const { return totalMemory(ggml_backend_get_device(backend())); }

bool Device::isCpu() const { return magicmix::isCpu(ggml_backend_get_device(backend())); }

bool Device::supports(ggml_tensor *operation) const {
    return ggml_backend_supports_op(backend(), operation);
}

const kernels::Kernels *Device::kernels(Precision precision) const {
    return isCpu() ? kernels::chooseKernels(storageOf(precision), bestKernels_) : nullptr;
}

bool Device::hasBf16Kernels() const {
    const auto *found = kernels(Precision::BF16);
    return found != nullptr && kernels::isFastInBf16(*found);
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

void Device::compute(ggml_cgraph *graph, const Cancellation &cancel) {
    cancel.throwIfRequested();
    setAbortCallback_(backend(), cancellationRequested, const_cast<Cancellation *>(&cancel));
    const ggml_status status = ggml_backend_graph_compute(backend(), graph);
    setAbortCallback_(backend(), nullptr, nullptr);
    requireSuccess(status, cancel);
}

namespace {

/// Asked by ggml's scheduler before every node whether to stop behind it, and there whether to go
/// on. After a cancellation every part of the graph ends behind its first node.
struct Watch {
    const Cancellation &cancel;
    int nodesBetweenLooks;
    int node = 0;

    static bool ask(ggml_tensor *, bool before, void *data) {
        auto &watch = *static_cast<Watch *>(data);
        const bool cancelled = watch.cancel.requested();
        return before ? cancelled || ++watch.node % watch.nodesBetweenLooks == 0 : !cancelled;
    }
};

} // namespace

void Device::compute(ggml_backend_sched_t scheduler, ggml_cgraph *graph,
                     const Cancellation &cancel) {
    cancel.throwIfRequested();
    const bool software = isSoftware(ggml_backend_get_device(backend()));
    Watch watch{cancel, software ? kNodesBetweenLooksInSoftware : kNodesBetweenLooks};
    ggml_backend_sched_set_eval_callback(scheduler, Watch::ask, &watch);
    ggml_status status = GGML_STATUS_FAILED;
    try {
        status = ggml_backend_sched_graph_compute(scheduler, graph);
    } catch (const std::exception &exception) { // of a driver
        throw Error("DEVICE_FAILED", "device '" + id_ + "' failed: " + exception.what(),
                    {{"device", id_}});
    }
    requireSuccess(status, cancel);
}

void Device::requireSuccess(ggml_status status, const Cancellation &cancel) const {
    cancel.throwIfRequested();
    if (status == GGML_STATUS_ALLOC_FAILED) {
        throw Error("OUT_OF_MEMORY", "device '" + id_ + "' ran out of memory during a computation");
    }
    if (status != GGML_STATUS_SUCCESS) {
        throw Error("DEVICE_FAILED",
                    "device '" + id_ + "' failed to compute: " + ggml_status_to_string(status),
                    {{"device", id_}});
    }
}

} // namespace magicmix
