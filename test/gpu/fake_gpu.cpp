// A GPU for tests, as a library of a backend: ggml's CPU backend in the disguise of a discrete GPU,
// whose memory the addon cannot read. It is built twice: as "vulkan:0", and as "cuda:0", for which
// the addon makes other graphs, and which takes no more than CUDA would (cuda_limits.h). It fails
// in the ways of which real ones are capable but cannot be asked for. Environment variables say
// how:
//
//   FAKE_GPU_LACKS     names of operations that it does not have: "GROUP_NORM,FLASH_ATTN_EXT"
//   FAKE_GPU_MEMORY    its memory in bytes; 4 GiB unless told
//   FAKE_GPU_FAILS     the name of an operation at which its driver gives up
//   FAKE_GPU_LOG       a file that gets the operations that it computed, each with a count
//   FAKE_GPU_COMPUTES  "nothing": it looks at graphs, keeps no weights and leaves zeros, for
//                      networks of which a CPU would not see the end

#include "cuda_limits.h"

#include <ggml-backend-impl.h>
#include <ggml-cpp.h>
#include <ggml-cpu.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <string_view>

namespace {

std::string setting(const char *name) {
    const char *value = std::getenv(name);
    return value == nullptr ? "" : value;
}

constexpr const char *kBackend = FAKE_GPU_BACKEND; // as ggml has it: "Vulkan", "CUDA"
constexpr bool kIsCuda = std::string_view(kBackend) == "CUDA";

bool computesNothing() { return setting("FAKE_GPU_COMPUTES") == "nothing"; }

bool lacks(const ggml_tensor *operation) {
    if (kIsCuda && !cudaHas(operation)) return true;
    std::istringstream names(setting("FAKE_GPU_LACKS"));
    for (std::string name; std::getline(names, name, ',');) {
        if (name == ggml_op_desc(operation)) return true;
    }
    return false;
}

ggml_backend_reg *registry();
ggml_backend_device *device();
ggml_backend_buffer_type *memory();

ggml_backend_device *cpuDevice() { return ggml_backend_reg_dev_get(ggml_backend_cpu_reg(), 0); }

// ---------------------------------------------------------------------------------------------
// Memory: the CPU's, without saying so

std::atomic<std::size_t> allocated{0};

std::size_t memorySize() {
    const std::string bytes = setting("FAKE_GPU_MEMORY");
    return bytes.empty() ? std::size_t{4} << 30 : std::stoull(bytes);
}

/// Memory that is only counted: nothing is kept in it, and zeros are read.
ggml_backend_buffer *allocateNothing(std::size_t size) {
    ggml_backend_buffer_i it = {};
    it.free_buffer = [](ggml_backend_buffer *freed) { allocated -= freed->size; };
    it.get_base = [](ggml_backend_buffer *) -> void * {
        static char somewhere;
        return &somewhere - reinterpret_cast<std::uintptr_t>(&somewhere) % 4096;
    };
    it.memset_tensor = [](ggml_backend_buffer *, ggml_tensor *, std::uint8_t, std::size_t,
                          std::size_t) {};
    it.set_tensor = [](ggml_backend_buffer *, ggml_tensor *, const void *, std::size_t,
                       std::size_t) {};
    it.get_tensor = [](ggml_backend_buffer *, const ggml_tensor *, void *data, std::size_t,
                       std::size_t count) { std::memset(data, 0, count); };
    it.clear = [](ggml_backend_buffer *, std::uint8_t) {};
    allocated += size;
    return ggml_backend_buffer_init(memory(), it, nullptr, size);
}

void (*freeOnCpu)(ggml_backend_buffer *) = nullptr;

ggml_backend_buffer *allocate(ggml_backend_buffer_type *, std::size_t size) {
    if (allocated + size > memorySize()) return nullptr;
    if (computesNothing()) return allocateNothing(size);
    ggml_backend_buffer *buffer =
        ggml_backend_buft_alloc_buffer(ggml_backend_cpu_buffer_type(), size);
    if (buffer == nullptr) return nullptr;
    allocated += buffer->size;
    buffer->buft = memory();
    freeOnCpu = buffer->iface.free_buffer;
    buffer->iface.free_buffer = [](ggml_backend_buffer *freed) {
        allocated -= freed->size;
        freeOnCpu(freed);
    };
    return buffer;
}

ggml_backend_buffer_type *memory() {
    static ggml_backend_buffer_type type = {};
    type.iface.get_name = [](ggml_backend_buffer_type *) { return "Fake"; };
    type.iface.alloc_buffer = allocate;
    type.iface.get_alignment = [](ggml_backend_buffer_type *) {
        return ggml_backend_buft_get_alignment(ggml_backend_cpu_buffer_type());
    };
    type.device = device();
    return &type;
}

// ---------------------------------------------------------------------------------------------
// Computing

struct Stream {
    ggml_backend_ptr cpu{ggml_backend_cpu_init()};
    std::map<std::string, int> computed;

    // More than one thread would wait for the others most of the time: the graphs are small.
    Stream() { ggml_backend_cpu_set_n_threads(cpu.get(), 1); }
    ~Stream() {
        const std::string log = setting("FAKE_GPU_LOG");
        if (log.empty()) return;
        std::ofstream file(log, std::ios::app);
        for (const auto &[name, times] : computed) file << name << ' ' << times << '\n';
    }
};

ggml_status compute(ggml_backend *backend, ggml_cgraph *graph) {
    auto &stream = *static_cast<Stream *>(backend->context);
    for (int i = 0; i < ggml_graph_n_nodes(graph); i++) {
        const ggml_tensor *node = ggml_graph_node(graph, i);
        const std::string name = ggml_op_desc(node);
        if (lacks(node) || name == setting("FAKE_GPU_FAILS")) return GGML_STATUS_FAILED;
        if (const std::string why = kIsCuda ? cudaFailsAt(node) : ""; !why.empty()) {
            std::cerr << name << ' ' << why << '\n';
            return GGML_STATUS_FAILED;
        }
        stream.computed[name]++;
    }
    if (computesNothing()) return GGML_STATUS_SUCCESS;
    return ggml_backend_graph_compute(stream.cpu.get(), graph);
}

ggml_backend *start(ggml_backend_device *, const char *) {
    static ggml_guid id = {'m', 'a', 'g', 'i', 'c', 'm', 'i', 'x', ' ', 'f', 'a', 'k', 'e'};
    auto backend = std::make_unique<ggml_backend>();
    backend->guid = &id;
    backend->iface.get_name = [](ggml_backend *) { return "Fake"; };
    backend->iface.graph_compute = compute;
    backend->iface.free = [](ggml_backend *freed) {
        const std::unique_ptr<Stream> stream(static_cast<Stream *>(freed->context));
        const std::unique_ptr<ggml_backend> owned(freed);
    };
    backend->device = device();
    backend->context = std::make_unique<Stream>().release();
    return backend.release();
}

// ---------------------------------------------------------------------------------------------
// The device, and the list of one

ggml_backend_device *device() {
    static ggml_backend_device instance = {};
    auto &it = instance.iface;
    it.get_name = [](ggml_backend_device *) { return "Fake0"; };
    it.get_description = [](ggml_backend_device *) { return "Fake GPU"; };
    it.get_type = [](ggml_backend_device *) { return GGML_BACKEND_DEVICE_TYPE_GPU; };
    it.get_memory = [](ggml_backend_device *, std::size_t *free, std::size_t *total) {
        *total = memorySize();
        *free = *total - std::min<std::size_t>(allocated, *total);
    };
    it.get_props = [](ggml_backend_device *, ggml_backend_dev_props *properties) {
        *properties = {};
        properties->name = "Fake0";
        properties->description = "Fake GPU";
        properties->type = GGML_BACKEND_DEVICE_TYPE_GPU;
        properties->memory_total = properties->memory_free = memorySize();
    };
    it.init_backend = start;
    it.get_buffer_type = [](ggml_backend_device *) { return memory(); };
    it.supports_op = [](ggml_backend_device *, const ggml_tensor *operation) {
        return !lacks(operation) && ggml_backend_dev_supports_op(cpuDevice(), operation);
    };
    it.supports_buft = [](ggml_backend_device *, ggml_backend_buffer_type *type) {
        return type == memory();
    };
    instance.reg = registry();
    return &instance;
}

ggml_backend_reg *registry() {
    static ggml_backend_reg instance = {};
    instance.api_version = GGML_BACKEND_API_VERSION;
    instance.iface.get_name = [](ggml_backend_reg *) { return kBackend; };
    instance.iface.get_device_count = [](ggml_backend_reg *) { return std::size_t{1}; };
    instance.iface.get_device = [](ggml_backend_reg *, std::size_t) { return device(); };
    instance.iface.get_proc_address = [](ggml_backend_reg *, const char *) -> void * {
        return nullptr;
    };
    return &instance;
}

} // namespace

extern "C" __attribute__((visibility("default"))) ggml_backend_reg *ggml_backend_init() {
    return registry();
}
