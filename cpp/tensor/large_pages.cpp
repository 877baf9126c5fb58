#include "tensor/large_pages.h"

#include <cstdint>
#include <set>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace magicmix {

void preferLargePages(ggml_backend_buffer_t buffer) {
#if defined(__linux__)
    if (buffer == nullptr || !ggml_backend_buffer_is_host(buffer)) return;
    constexpr std::uintptr_t page = std::uintptr_t{1} << 21;
    const auto base = reinterpret_cast<std::uintptr_t>(ggml_backend_buffer_get_base(buffer));
    const std::uintptr_t first = (base + page - 1) / page * page;
    const std::uintptr_t end = (base + ggml_backend_buffer_get_size(buffer)) / page * page;
    // Refused where the kernel was built without them: small pages work, too.
    if (first < end) madvise(reinterpret_cast<void *>(first), end - first, MADV_HUGEPAGE);
#else
    static_cast<void>(buffer);
#endif
}

void preferLargePages(ggml_cgraph *graph) {
    std::set<ggml_backend_buffer_t> buffers;
    for (int i = 0; i < ggml_graph_n_nodes(graph); i++) {
        buffers.insert(ggml_graph_node(graph, i)->buffer);
    }
    for (ggml_backend_buffer_t buffer : buffers) preferLargePages(buffer);
}

} // namespace magicmix
