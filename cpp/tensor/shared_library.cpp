#include "tensor/shared_library.h"

#include "base/error.h"

#ifdef _WIN32
#define WIN32_LEAN_AND_MEAN
#ifndef NOMINMAX
#define NOMINMAX
#endif
#include <windows.h>

#include <filesystem>
#else
#include <dlfcn.h>
#endif

namespace magicmix {

#ifdef _WIN32

SharedLibrary::SharedLibrary(const std::string &path)
    : handle_(LoadLibraryExW(std::filesystem::u8path(path).wstring().c_str(), nullptr,
                             LOAD_LIBRARY_SEARCH_DEFAULT_DIRS | LOAD_LIBRARY_SEARCH_DLL_LOAD_DIR)) {
    if (handle_ != nullptr) return;
    throw Error("DEVICE_UNAVAILABLE",
                "'" + path + "' cannot be loaded (Windows error " + std::to_string(GetLastError()) +
                    "); a library that it needs may be missing",
                {{"path", path}});
}

SharedLibrary::~SharedLibrary() {
    if (handle_ != nullptr) FreeLibrary(static_cast<HMODULE>(handle_));
}

void *SharedLibrary::address(const char *name) const {
    return reinterpret_cast<void *>(GetProcAddress(static_cast<HMODULE>(handle_), name));
}

#else

SharedLibrary::SharedLibrary(const std::string &path)
    : handle_(dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL)) {
    if (handle_ != nullptr) return;
    const char *reason = dlerror();
    throw Error("DEVICE_UNAVAILABLE", reason ? reason : "'" + path + "' cannot be loaded",
                {{"path", path}});
}

SharedLibrary::~SharedLibrary() {
    if (handle_ != nullptr) dlclose(handle_);
}

void *SharedLibrary::address(const char *name) const { return dlsym(handle_, name); }

#endif

} // namespace magicmix
