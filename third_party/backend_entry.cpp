// In every library of a backend: what the addon calls before `ggml_backend_init`. The library has a
// ggml of its own, which would write its messages to the standard error of somebody else's program.
// Returns the version of that ggml: with another one the addon could not talk to it.

#include <ggml.h>

#ifdef _WIN32
#define MAGICMIX_EXPORT extern "C" __declspec(dllexport)
#else
#define MAGICMIX_EXPORT extern "C" __attribute__((visibility("default")))
#endif

MAGICMIX_EXPORT const char *magicmix_backend_prepare(ggml_log_callback log) {
    ggml_log_set(log, nullptr);
    ggml_time_init();
    return ggml_version();
}
