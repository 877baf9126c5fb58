#pragma once

#include <ggml-backend.h>

namespace magicmix {

/// Asks the system to put large pages behind memory that nobody has written to yet: a mix touches
/// hundreds of thousands of small ones for the first time, which took a quarter of the time of the
/// autoencoder. A wish: where it is not heard, nothing changes.
void preferLargePages(ggml_backend_buffer_t buffer);

/// The same for the memory of all nodes.
void preferLargePages(ggml_cgraph *graph);

} // namespace magicmix
