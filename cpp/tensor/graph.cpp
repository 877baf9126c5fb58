#include "tensor/graph.h"

#include "base/error.h"
#include "tensor/alignment.h"
#include "tensor/large_pages.h"

#include <array>
#include <iterator>
#include <limits>
#include <set>

namespace magicmix {
namespace {

// A UNet of Stable Diffusion 1.x takes about 3000 nodes; convolutions in bands add some.
constexpr std::size_t kMaxNodes = 32768;
// More than any one operation of `Ops` makes without asking for room again.
constexpr std::size_t kMaxNodesOfOperation = 128;
// Two for every cross-attention, and one for every ResBlock: of the largest UNets that there are,
// a few hundred.
constexpr std::size_t kMaxConstants = 2048;

Tensor newTensor(ggml_context *context, ggml_type type, const std::vector<std::int64_t> &shape) {
    return ggml_new_tensor(context, type, static_cast<int>(shape.size()), shape.data());
}

/// Nodes, and all that goes into them.
std::size_t countTensors(ggml_cgraph *graph) {
    std::set<const ggml_tensor *> all;
    for (int i = 0; i < ggml_graph_n_nodes(graph); i++) {
        const ggml_tensor *node = ggml_graph_node(graph, i);
        all.insert(node);
        all.insert(std::begin(node->src), std::end(node->src));
    }
    return all.size();
}

} // namespace

Graph::Graph(Device &device)
    : device_(device), context_(kMaxNodes, ggml_graph_overhead_custom(kMaxNodes, false)),
      constants_(kMaxConstants) {
    graph_ = ggml_new_graph_custom(context_.get(), kMaxNodes, false);
}

/// ggml's scheduler would keep inputs on the CPU, and copy them at every use.
Tensor Graph::input(const std::vector<std::int64_t> &shape, ggml_type type) {
    if (!device_.isCpu()) {
        requireRoomForConstant();
        return newTensor(constants_.get(), type, shape);
    }
    requireRoom();
    Tensor tensor = newTensor(context_.get(), type, shape);
    ggml_set_input(tensor);
    return tensor;
}

Tensor Graph::constant(const std::vector<std::int64_t> &shape) {
    requireRoomForConstant();
    return newTensor(constants_.get(), GGML_TYPE_F32, shape);
}

Tensor Graph::output(Tensor tensor) {
    ggml_set_output(tensor);
    ggml_build_forward_expand(graph_, tensor);
    return tensor;
}

void Graph::requireRoom() const {
    if (context_.hasRoomFor(kMaxNodesOfOperation)) return;
    throw Error("MODEL_UNSUPPORTED", "this network, at this size of picture, has more than " +
                                         std::to_string(kMaxNodes) + " operations");
}

void Graph::requireRoomForConstant() const {
    if (constants_.hasRoomFor(1)) return;
    throw Error("MODEL_UNSUPPORTED",
                "this network has more than " + std::to_string(kMaxConstants) + " inputs");
}

/// Kernels of ggml's for CUDA count values in 32 bits; more would end the process, or be nonsense.
void Graph::requireCountable() const {
    if (device_.backendName() != "cuda") return;
    for (int i = 0; i < ggml_graph_n_nodes(graph_); i++) {
        const ggml_tensor *node = ggml_graph_node(graph_, i);
        const bool isView = node->view_src != nullptr;
        if (isView || ggml_nelements(node) <= std::numeric_limits<std::int32_t>::max()) continue;
        throw Error(
            "MODEL_UNSUPPORTED",
            "this network, at this size of picture and with so many prompts and seeds at once, "
            "has a tensor of more than 2^31 values, which CUDA cannot count: mix smaller "
            "pictures, fewer at once, or on another device",
            {{"device", device_.id()}});
    }
}

void Graph::stage(const std::string &name, Tensor tensor) {
    if (keepStages_) stages_.push_back({name, output(tensor)});
}

std::uint64_t Graph::measure() const {
    requireCountable();
    const ggml_gallocr_ptr allocator(ggml_gallocr_new(device_.bufferType()));
    std::size_t bytes = 0;
    ggml_gallocr_reserve_n_size(allocator.get(), graph_, nullptr, nullptr, &bytes);
    return bytes + scratchBytes_ * static_cast<std::size_t>(device_.threads()) + sharedBytes_;
}

void Graph::allocate(const std::string &purpose) {
    requireCountable();
    allocateInputs(purpose);
    allocateScratch();
    const ggml_gallocr_ptr allocator(ggml_gallocr_new(device_.bufferType()));
    std::size_t bytes = 0;
    ggml_gallocr_reserve_n_size(allocator.get(), graph_, nullptr, nullptr, &bytes);
    device_.requireMemory(bytes, purpose);
    if (allocateNodes()) return;
    throw Error("OUT_OF_MEMORY",
                purpose + " needs " + std::to_string(bytes / 1048576) + " MiB on device '" +
                    device_.id() + "', which could not be allocated",
                {{"neededBytes", static_cast<double>(bytes)}, {"device", device_.id()}});
}

void Graph::allocateInputs(const std::string &purpose) {
    if (ggml_get_first_tensor(constants_.get()) == nullptr) return;
    constantBuffer_.reset(ggml_backend_alloc_ctx_tensors(constants_.get(), device_.backend()));
    if (!constantBuffer_) throw Error("OUT_OF_MEMORY", "no memory for the inputs of " + purpose);
}

void Graph::allocateScratch() {
    const std::size_t each = (scratchBytes_ + kCacheLine - 1) / kCacheLine * kCacheLine;
    const auto threads = static_cast<std::size_t>(device_.threads());
    scratchMemory_.resize(each * threads + kCacheLine);
    for (std::size_t i = 0; i < threads; i++) {
        scratch_.push_back(static_cast<std::byte *>(aligned(scratchMemory_.data())) + i * each);
    }
    sharedMemory_.resize(sharedBytes_ + kCacheLine);
    shared_ = aligned(sharedMemory_.data());
}

bool Graph::allocateNodes() {
    if (device_.isCpu()) {
        allocator_.reset(ggml_gallocr_new(device_.bufferType()));
        const bool allocated = ggml_gallocr_reserve(allocator_.get(), graph_) &&
                               ggml_gallocr_alloc_graph(allocator_.get(), graph_);
        if (allocated) preferLargePages(graph_);
        return allocated;
    }
    // The scheduler gives the CPU the operations that the GPU lacks.
    std::array<ggml_backend_t, 2> backends = {device_.backend(), device_.helper()};
    scheduler_.reset(ggml_backend_sched_new(backends.data(), nullptr, 2, countTensors(graph_),
                                            /*parallel=*/false, /*op_offload=*/false));
    return ggml_backend_sched_alloc_graph(scheduler_.get(), graph_);
}

void Graph::compute(const Cancellation &cancel) {
    if (scheduler_) {
        device_.compute(scheduler_.get(), graph_, cancel);
    } else {
        Team team = device_.team();
        team_ = &team;
        device_.compute(graph_, cancel);
    }
}

void Graph::set(Tensor tensor, const void *values, std::size_t bytes) {
    if (bytes != ggml_nbytes(tensor)) {
        throw Error("INTERNAL", "a graph's input takes " + std::to_string(ggml_nbytes(tensor)) +
                                    " bytes, not " + std::to_string(bytes));
    }
    ggml_backend_tensor_set(tensor, values, 0, bytes);
}

void Graph::set(Tensor tensor, const std::vector<float> &values) {
    set(tensor, values.data(), values.size() * sizeof(float));
}

void Graph::set(Tensor tensor, const std::vector<std::int32_t> &values) {
    set(tensor, values.data(), values.size() * sizeof(std::int32_t));
}

std::vector<float> Graph::get(Tensor tensor) const {
    std::vector<float> values(static_cast<std::size_t>(ggml_nelements(tensor)));
    ggml_backend_tensor_get(tensor, values.data(), 0, values.size() * sizeof(float));
    return values;
}

} // namespace magicmix
