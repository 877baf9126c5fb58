#pragma once

#include "base/cancellation.h"
#include "kernels/kernels.h"
#include "tensor/precision.h"
#include "tensor/thread_pool.h"

#include <ggml-cpp.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace magicmix {

struct DeviceInfo {
    std::string id;          ///< what `Device::open` takes: "cpu", "cuda:0", ...
    std::string description; ///< name of the hardware
    std::string backend;     ///< "cpu", "cuda", "metal", "vulkan"
    /// "cpu"; of GPUs "discrete", "integrated" (shares the CPU's memory), or "software": a driver
    /// that computes on the CPU, right but very slowly.
    std::string kind;
    std::uint64_t totalMemory = 0; ///< bytes; 0 if unknown
    std::uint64_t freeMemory = 0;  ///< bytes; 0 if unknown
};

/// The devices of all backends that were loaded; the CPU, which is always there, comes last.
std::vector<DeviceInfo> listDevices();

/// A place where graphs run, with its own threads. Not thread-safe.
class Device {
public:
    /// `id` is one of `listDevices`; `threads` 0 means one per core. There can be fewer: no more
    /// than cores, nor than the system gives.
    /// `bestKernels` caps the kernels of our own, as in `chooseKernels`; what they are is settled
    /// here, since weights are packed for them. Throws `DEVICE_UNAVAILABLE` with what can be had.
    static Device open(const std::string &id, int threads, const std::string &bestKernels = "");

    const std::string &id() const { return id_; }
    bool isCpu() const;
    /// "cpu", "cuda", "metal", "vulkan".
    const std::string &backendName() const { return backendName_; }
    /// Threads that compute together, the caller's among them.
    int threads() const { return threads_; }
    /// They, or so many of them, for as long as it is kept.
    Team team() const { return team(threads_); }
    Team team(int threads) const { return {*pool_, threads}; }
    ggml_backend_t backend() const { return backend_.get(); }
    /// The CPU beside a GPU, for operations that the GPU lacks; null on the CPU.
    ggml_backend_t helper() const { return helper_.get(); }
    /// Whether the device itself has that operation.
    bool supports(ggml_tensor *operation) const;
    ggml_backend_buffer_type_t bufferType() const;
    /// The kernels of our own for weights of that precision; null where ggml's operations are used.
    const kernels::Kernels *kernels(Precision precision) const;
    /// Does it multiply bf16 in kernels of our own, and faster than f32?
    bool hasBf16Kernels() const;

    /// Bytes that the device has in all; 0 if unknown.
    std::uint64_t memory() const;
    /// Throws `OUT_OF_MEMORY` if `bytes` more would not fit; `purpose` goes into the message.
    void requireMemory(std::uint64_t bytes, const std::string &purpose) const;

    /// On the CPU: computes every node of `graph`; between any two of them it looks at the
    /// cancellation. ggml does so on one thread: its threads would meet after every node by
    /// spinning, and on cores that are shared each meeting takes time slices of the system. What
    /// takes time are nodes of our own, which share it out to a `team`.
    void compute(ggml_cgraph *graph, const Cancellation &cancel);
    /// On a GPU: computes a graph that `scheduler` has allocated. After some nodes at a time it
    /// looks at the cancellation. Throws `DEVICE_FAILED` if the driver gives up.
    void compute(ggml_backend_sched_t scheduler, ggml_cgraph *graph, const Cancellation &cancel);

private:
    Device() = default;
    void requireSuccess(ggml_status status, const Cancellation &cancel) const;

    std::string id_, backendName_, bestKernels_;
    int threads_ = 0;
    std::shared_ptr<ThreadPool> pool_;
    ggml_backend_ptr backend_, helper_;
    ggml_backend_set_abort_callback_t setAbortCallback_ = nullptr;
};

} // namespace magicmix
