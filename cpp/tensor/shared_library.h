#pragma once

#include <string>

namespace magicmix {

/// A shared library that is in use.
class SharedLibrary {
public:
    /// Throws `DEVICE_UNAVAILABLE` with what the system says.
    explicit SharedLibrary(const std::string &path);
    ~SharedLibrary();
    SharedLibrary(const SharedLibrary &) = delete;
    SharedLibrary &operator=(const SharedLibrary &) = delete;

    /// A function of the library; null if it has none of that name.
    template <typename Function>
    Function *find(const char *name) const {
        return reinterpret_cast<Function *>(address(name));
    }

    /// Leaves it in use until the process ends.
    void stay() { handle_ = nullptr; }

private:
    void *address(const char *name) const;

    void *handle_;
};

} // namespace magicmix
