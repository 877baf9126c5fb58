// Whether a device computes right: every kind of operation once, in the way of a
// small UNet, on weights and inputs of noise.

#include "tensor/preflight.h"

#include "base/tokens.h"
#include "tensor/ops.h"

#include <cmath>
#include <map>

namespace magicmix {
namespace {

constexpr int kWidth = 24, kHeight = 16, kChannels = 80, kHeads = 2, kTokens = kContextLength;
constexpr int kNormGroups = 8;
constexpr float kEpsilon = 1e-5f;

/// f16 costs some 1e-3 in such a network; a driver that computes wrongly is far off.
constexpr double kTolerance = 2e-2;

/// The same numbers on every machine, about as large as normal ones.
std::vector<float> noise(std::size_t count, std::uint32_t seed) {
    std::vector<float> values(count);
    std::uint32_t state = seed * 2654435761u + 1;
    for (auto &value : values) {
        state = state * 1664525u + 1013904223u;
        value = 3.4f * (static_cast<float>(state >> 8) / 16777216.0f - 0.5f);
    }
    return values;
}

std::size_t product(const std::vector<std::int64_t> &shape) {
    std::size_t count = 1;
    for (const std::int64_t side : shape) count *= static_cast<std::size_t>(side);
    return count;
}

/// Weights of noise that keep the size of what they are multiplied with.
class NoiseWeights : public WeightSource {
public:
    void add(const std::string &name, const std::vector<std::int64_t> &shape) {
        const std::size_t count = product(shape);
        auto values = noise(count, static_cast<std::uint32_t>(tensors_.size()) + 1);
        const bool isFactor = shape.size() > 1;
        const double inputs = isFactor ? static_cast<double>(count) / double(shape[0]) : 1;
        for (auto &value : values) value *= static_cast<float>(1 / std::sqrt(inputs));
        tensors_[name] = Values::owning(shape, std::move(values));
    }

    bool hasAny(const std::string &) const override { return true; }
    Description describe(const std::string &name) const override { return tensors_.at(name); }
    Values read(const std::string &name) const override { return tensors_.at(name); }

private:
    std::map<std::string, Values> tensors_;
};

/// A residual block, a transformer block, and the way to twice the size.
class SmallNetwork {
public:
    SmallNetwork(Weights &weights, NoiseWeights &values) : weights_(weights), values_(values) {
        in_ = conv("in", 4, kChannels, 3);
        norm_ = normOf("norm");
        block_ = conv("block", kChannels, kChannels, 3);
        layerNorm_ = normOf("layer_norm");
        queries_ = linear("queries", kChannels, kChannels);
        keys_ = linear("keys", kChannels, kChannels);
        valueLayer_ = linear("values", kChannels, kChannels);
        gated_ = gated("gated", kChannels, kChannels);
        project_ = linear("project", kChannels, kChannels);
        down_ = conv("down", kChannels, kChannels, 3);
        up_ = conv("up", kChannels, kChannels, 3);
        out_ = conv("out", 2 * kChannels, 4, 1);
    }

    Tensor run(Ops &ops, Tensor planes, Tensor context) const {
        Tensor x = ops.conv2d(ops.fromPlanes(planes), in_);
        Tensor h = ops.groupNorm(x, norm_, kNormGroups, kEpsilon, Activation::Silu);
        Plus residual;
        residual.residual = x;
        x = ops.conv2d(h, block_, residual);

        Tensor sequence = ops.toSequence(x);
        Tensor normed = ops.layerNorm(sequence, layerNorm_, kEpsilon);
        Tensor q = ops.linear(normed, queries_);
        Tensor attended = ops.attention(q, ops.linear(normed, keys_),
                                        ops.linear(normed, valueLayer_), kHeads, Mask::None);
        sequence = ops.add(sequence, attended);
        attended = ops.attention(
            ops.linear(ops.layerNorm(sequence, layerNorm_, kEpsilon), queries_),
            ops.linear(context, keys_), ops.linear(context, valueLayer_), kHeads, Mask::Causal);
        sequence = ops.add(sequence, attended);
        sequence = ops.gated(ops.layerNorm(sequence, layerNorm_, kEpsilon), gated_);
        x = ops.addToPicture(x, sequence, project_);

        Tensor small = ops.conv2d(x, down_, {}, 2);
        Tensor large = ops.upsampleConv(small, ops.sizeOf(x), up_);
        return ops.toPlanes(ops.conv2d(ops.concatChannels(large, x), out_));
    }

private:
    Conv conv(const std::string &name, int in, int out, int size) {
        values_.add(name + ".weight", {out, in, size, size});
        values_.add(name + ".bias", {out});
        return declareConv(weights_, name, in, out, size);
    }
    Linear linear(const std::string &name, int in, int out) {
        values_.add(name + ".weight", {out, in});
        values_.add(name + ".bias", {out});
        return declareLinear(weights_, name, in, out);
    }
    Linear gated(const std::string &name, int in, int out) {
        values_.add(name + ".weight", {2 * out, in});
        values_.add(name + ".bias", {2 * out});
        return declareGated(weights_, name, in, out);
    }
    Norm normOf(const std::string &name) {
        values_.add(name + ".weight", {kChannels});
        values_.add(name + ".bias", {kChannels});
        return declareNorm(weights_, name, kChannels);
    }

    Weights &weights_;
    NoiseWeights &values_;
    Conv in_, block_, down_, up_, out_;
    Norm norm_, layerNorm_;
    Linear queries_, keys_, valueLayer_, gated_, project_;
};

std::vector<float> resultOn(const std::string &id, Precision precision) {
    Device device = Device::open(id, 1);
    Weights weights(precision, device.kernels(precision));
    NoiseWeights values;
    const SmallNetwork network(weights, values);
    const Cancellation never;
    weights.load(values, device, never, [](int) {});

    Graph graph(device);
    const auto ops = makeOps(graph, precision);
    const std::vector<std::int64_t> planesShape = {kWidth, kHeight, 4, 2};
    const std::vector<std::int64_t> contextShape = {kChannels, kTokens, 2};
    Tensor planes = graph.input(planesShape), context = graph.input(contextShape);
    Tensor result = graph.output(network.run(*ops, planes, context));
    graph.allocate("the preflight");
    graph.set(planes, noise(product(planesShape), 101));
    graph.set(context, noise(product(contextShape), 102));
    graph.compute(never);
    return graph.get(result);
}

} // namespace

Preflight preflight(const std::string &device) {
    const std::vector<float> expected = resultOn("cpu", Precision::F32);
    const std::vector<float> found = resultOn(device, Precision::F16);
    double difference = 0, size = 0;
    for (std::size_t i = 0; i < expected.size(); i++) {
        difference += std::pow(double{found[i]} - double{expected[i]}, 2);
        size += std::pow(double{expected[i]}, 2);
    }
    Preflight result;
    result.error = std::sqrt(difference / size);
    result.passed = result.error < kTolerance; // false for NaN
    return result;
}

} // namespace magicmix
