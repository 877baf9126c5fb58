#pragma once

#include "cancellation.h"
#include "kernels/kernels.h"
#include "tensor/precision.h"

#include <ggml-cpp.h>

#include <cstdint>
#include <string>

namespace magicmix {

/// A place where graphs run, with its own threads. Not thread-safe.
class Device {
public:
    /// `id` is "auto" or an id of `listDevices`; `threads` 0 means one a core.
    /// Throws `DEVICE_UNAVAILABLE` with what can be had.
    static Device open(const std::string &id, int threads);

    const std::string &id() const { return id_; }
    bool isCpu() const;
    int threads() const { return threads_; }
    ggml_backend_t backend() const { return backend_.get(); }
    ggml_backend_buffer_type_t bufferType() const;
    /// The kernels of our own for weights of that precision; null where ggml's operations are used.
    const kernels::Kernels *kernels(Precision precision) const;

    /// Throws `OUT_OF_MEMORY` if `bytes` more would not fit; `purpose` goes into the message.
    void requireMemory(std::uint64_t bytes, const std::string &purpose) const;

    /// Computes every node of `graph`, about `operations` floating point operations. Where the
    /// backend allows it the cancellation is looked at between any two nodes, else before and
    /// after.
    void compute(ggml_cgraph *graph, double operations, const Cancellation &cancel);

private:
    Device() = default;

    std::string id_;
    int threads_ = 0;
    ggml_backend_ptr backend_;
    ggml_backend_set_n_threads_t setThreads_ = nullptr;
    ggml_backend_set_abort_callback_t setAbortCallback_ = nullptr;
};

} // namespace magicmix
