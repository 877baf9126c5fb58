#pragma once

#include "tensor/context.h"
#include "tensor/device.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace magicmix {

/// A tensor of a graph. ggml writes shapes fastest axis first: a picture is `{W, H, C, N}`, a
/// sequence `{C, T, N}`; in torch order these are `[N, C, H, W]` and `[N, T, C]`.
using Tensor = ggml_tensor *;

/// A computation that is built once, gets its memory once, and then runs any number of times.
///
///     Graph graph(device);
///     Tensor x = graph.input({w, h, c, n});
///     Tensor y = graph.output(network(ops, x));
///     graph.allocate("UNet");
///     graph.set(x, values);  graph.compute(cancel);  graph.get(y);
class Graph {
public:
    explicit Graph(Device &device);

    ggml_context *context() { return context_.get(); }
    const Device &device() const { return device_; }

    /// An input whose values are set before every run. This and `constant` throw
    /// `MODEL_UNSUPPORTED` if there is no room for another.
    Tensor input(const std::vector<std::int64_t> &shape, ggml_type type = GGML_TYPE_F32);
    /// An input that keeps its values from run to run.
    Tensor constant(const std::vector<std::int64_t> &shape);
    /// Marks a result; its values can be read after a run.
    Tensor output(Tensor tensor);

    /// Throws `MODEL_UNSUPPORTED` if the graph has no room for another operation: ggml would
    /// assert.
    void requireRoom() const;

    /// Remembers `tensor` as the value of a named block, to be read if `keepStages` was called.
    void stage(const std::string &name, Tensor tensor);
    void keepStages() { keepStages_ = true; }
    bool keepsStages() const { return keepStages_; }

    /// Keeps a value as long as the graph.
    template <typename T>
    T *keep(T value) {
        auto kept = std::make_shared<T>(std::move(value));
        kept_.push_back(kept);
        return kept.get();
    }
    /// Memory that every thread has for itself while it computes a node.
    void requireScratch(std::size_t bytes) { scratchBytes_ = std::max(scratchBytes_, bytes); }
    void *scratch(int thread) const { return scratch_[static_cast<std::size_t>(thread)]; }
    /// Memory that all threads have together while they compute a node.
    void requireShared(std::size_t bytes) { sharedBytes_ = std::max(sharedBytes_, bytes); }
    void *shared() const { return shared_; }
    /// Those who compute a node that shares its work out.
    Team &team() const { return *team_; }

    /// Bytes that `allocate` would take, instead of it.
    std::uint64_t measure() const;
    /// Ends the building. `purpose` names the graph in an `OUT_OF_MEMORY` error.
    void allocate(const std::string &purpose);

    void set(Tensor tensor, const void *values, std::size_t bytes);
    void set(Tensor tensor, const std::vector<float> &values);
    void set(Tensor tensor, const std::vector<std::int32_t> &values);
    std::vector<float> get(Tensor tensor) const;

    void compute(const Cancellation &cancel);

    struct Stage {
        std::string name;
        Tensor tensor;
    };
    const std::vector<Stage> &stages() const { return stages_; }

private:
    void requireRoomForConstant() const;
    void requireCountable() const;
    void allocateInputs(const std::string &purpose);
    void allocateScratch();
    bool allocateNodes();

    Device &device_;
    Context context_, constants_;
    ggml_cgraph *graph_ = nullptr; // lives in context_
    ggml_backend_buffer_ptr constantBuffer_;
    ggml_gallocr_ptr allocator_;       // on the CPU
    ggml_backend_sched_ptr scheduler_; // on a GPU
    bool keepStages_ = false;
    std::vector<Stage> stages_;
    std::vector<std::shared_ptr<void>> kept_;
    std::size_t scratchBytes_ = 0;
    std::vector<std::byte> scratchMemory_;
    std::vector<void *> scratch_; // one per thread
    std::size_t sharedBytes_ = 0;
    std::vector<std::byte> sharedMemory_;
    void *shared_ = nullptr;
    Team *team_ = nullptr; // while it computes
};

} // namespace magicmix
