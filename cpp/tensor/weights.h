#pragma once

#include "kernels/kernels.h"
#include "tensor/context.h"
#include "tensor/device.h"
#include "tensor/graph.h"
#include "tensor/precision.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace magicmix {

/// Where weights come from: a checkpoint, seen without its files.
class WeightSource {
public:
    virtual ~WeightSource() = default;

    struct Description {
        ggml_type type = GGML_TYPE_F32;  ///< F32, F16, BF16, or quantised
        std::vector<std::int64_t> shape; ///< torch order
    };
    struct Values : Description {
        std::shared_ptr<const std::byte> data; ///< not necessarily aligned
        std::size_t bytes = 0;

        static Values owning(Description description, std::vector<std::byte> bytes);
        static Values owning(std::vector<std::int64_t> shape, std::vector<float> floats);
    };
    /// Is there any tensor whose name starts so?
    virtual bool hasAny(const std::string &prefix) const = 0;
    /// Throws `MODEL_FORMAT` if there is no such tensor, `MODEL_UNSUPPORTED` if its type is none of
    /// weights.
    virtual Description describe(const std::string &name) const = 0;
    virtual Values read(const std::string &name) const = 0;
};

/// The weights of the networks: declared by them by name and shape, checked against a checkpoint,
/// then placed on a device in one piece.
class Weights {
public:
    /// `kernels`: those that will multiply the weights, or null if ggml will. `quantised`: factors
    /// that are quantised there stay as they are, if they can be multiplied so; may be null.
    Weights(Precision precision, const kernels::Kernels *kernels,
            const WeightSource *quantised = nullptr);

    /// A factor of a matrix product or convolution, in the chosen precision, packed if there are
    /// kernels. `shape` is torch order: `[out, in]` or `[out, in, kernelHeight, kernelWidth]`.
    /// Trailing ones in the file are accepted and dropped: `[C, C, 1, 1]` is the matrix `[C, C]`.
    /// The storage of `packing` is filled in.
    Tensor factor(const std::string &name, const std::vector<std::int64_t> &shape,
                  kernels::WeightShape &packing);
    /// A bias or a factor of a norm: always f32.
    Tensor vector(const std::string &name, std::int64_t length);
    /// Rows to be looked up, `[rows, width]`: f32, or f16 when the precision is not f32.
    Tensor table(const std::string &name, std::int64_t rows, std::int64_t width);

    /// Checks the shapes of all that was declared. Throws `MODEL_FORMAT` naming the tensor.
    void check(const WeightSource &source) const;
    /// Allocates, reads and converts all that was declared. `progress` gets how many tensors
    /// are done, on this thread.
    void load(const WeightSource &source, Device &device, const Cancellation &cancel,
              const std::function<void(int)> &progress);

    /// Are they in memory?
    bool areLoaded() const { return buffer_ != nullptr; }
    /// Gives their memory back. What was declared stays, and can be loaded again; a graph that was
    /// built with them cannot be used any more.
    void giveBack();

    /// Replaces the values of loaded weights. Shapes stay.
    void replace(const std::vector<std::string> &names,
                 const std::function<WeightSource::Values(const std::string &)> &valuesOf,
                 Team &team, const Cancellation &cancel);
    bool has(const std::string &name) const;
    /// The names of all that was declared.
    std::set<std::string> names() const;
    /// The names of all that `factor` and `vector` declared.
    std::vector<std::string> changeableNames() const;

    /// Before loading: treats everything that was declared as placed, so that graphs can be
    /// measured.
    void beginMeasuring();
    void endMeasuring();

    /// The number of declared tensors.
    int count() const { return static_cast<int>(declared_.size()); }
    /// Bytes that were placed, or would be.
    std::uint64_t bytes() const;
    /// Elements of the declared tensors whose names start with `prefix`.
    std::uint64_t parameters(const std::string &prefix) const;

private:
    struct Declared {
        std::string name;
        std::vector<std::int64_t> shape;
        Tensor tensor;
        bool isTable = false;
        std::optional<kernels::WeightShape> packing;
        std::optional<ggml_type> blocks; ///< of a factor that stays quantised
    };
    void place(const WeightSource::Values &values, const Declared &declared) const;
    std::optional<ggml_type> quantisedType(const std::string &name,
                                           const std::vector<std::int64_t> &shape,
                                           const kernels::WeightShape &packing) const;
    Tensor declare(const std::string &name, const std::vector<std::int64_t> &shape, ggml_type type);

    Precision precision_;
    const kernels::Kernels *kernels_;
    const WeightSource *quantised_;
    Context context_;
    ggml_backend_buffer_ptr buffer_;
    std::vector<Declared> declared_;
};

} // namespace magicmix
