#include "checkpoint/mapped_file.h"

#include "base/error.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <optional>

#ifdef _WIN32
#define NOMINMAX
#include <windows.h>
#else
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#endif

namespace magicmix {
namespace {

[[noreturn]] void cannotRead(const std::string &path, const std::string &why) {
    throw Error("MODEL_NOT_FOUND", "cannot read '" + path + "': " + why, {{"path", path}});
}

[[noreturn]] void emptyFile(const std::string &path) {
    throw Error("MODEL_FORMAT", "'" + path + "' is empty, not a checkpoint", {{"path", path}});
}

#ifdef _WIN32

class Handle {
public:
    explicit Handle(HANDLE handle) : handle_(handle) {}
    ~Handle() {
        if (valid()) CloseHandle(handle_);
    }
    Handle(const Handle &) = delete;
    Handle &operator=(const Handle &) = delete;
    bool valid() const { return handle_ != nullptr && handle_ != INVALID_HANDLE_VALUE; }
    HANDLE get() const { return handle_; }

private:
    HANDLE handle_;
};

FileIdentity identityOf(HANDLE file) {
    BY_HANDLE_FILE_INFORMATION info{};
    GetFileInformationByHandle(file, &info);
    const auto joined = [](DWORD high, DWORD low) {
        return std::uint64_t{high} << 32 | std::uint64_t{low};
    };
    return {info.dwVolumeSerialNumber, joined(info.nFileIndexHigh, info.nFileIndexLow),
            joined(info.nFileSizeHigh, info.nFileSizeLow),
            static_cast<std::int64_t>(
                joined(info.ftLastWriteTime.dwHighDateTime, info.ftLastWriteTime.dwLowDateTime))};
}

std::optional<FileIdentity> identityOf(const std::string &path) {
    const std::wstring wide = std::filesystem::u8path(path).wstring();
    const Handle file(CreateFileW(wide.c_str(), 0, FILE_SHARE_READ | FILE_SHARE_WRITE, nullptr,
                                  OPEN_EXISTING, FILE_ATTRIBUTE_NORMAL, nullptr));
    if (!file.valid()) return std::nullopt;
    return identityOf(file.get());
}

#else

class Descriptor {
public:
    explicit Descriptor(int descriptor) : descriptor_(descriptor) {}
    ~Descriptor() {
        if (descriptor_ >= 0) ::close(descriptor_);
    }
    Descriptor(const Descriptor &) = delete;
    Descriptor &operator=(const Descriptor &) = delete;
    int get() const { return descriptor_; }

private:
    int descriptor_;
};

FileIdentity identityOf(const struct stat &status) {
#ifdef __APPLE__
    const timespec &modified = status.st_mtimespec;
#else
    const timespec &modified = status.st_mtim;
#endif
    return {static_cast<std::uint64_t>(status.st_dev), static_cast<std::uint64_t>(status.st_ino),
            static_cast<std::uint64_t>(status.st_size),
            std::int64_t{modified.tv_sec} * 1000000000 + modified.tv_nsec};
}

/// Nothing if there is no such file.
std::optional<FileIdentity> identityOf(const std::string &path) {
    struct stat status {};
    if (::stat(path.c_str(), &status) != 0) return std::nullopt;
    return identityOf(status);
}

#endif

} // namespace

#ifdef _WIN32

std::shared_ptr<const MappedFile> MappedFile::open(const std::string &path) {
    const std::wstring wide = std::filesystem::u8path(path).wstring();
    const Handle file(CreateFileW(wide.c_str(), GENERIC_READ, FILE_SHARE_READ, nullptr,
                                  OPEN_EXISTING, FILE_ATTRIBUTE_NORMAL, nullptr));
    if (!file.valid()) cannotRead(path, "Windows error " + std::to_string(GetLastError()));
    LARGE_INTEGER size;
    if (!GetFileSizeEx(file.get(), &size)) cannotRead(path, "its size is unknown");
    if (size.QuadPart == 0) emptyFile(path);
    const Handle mapping(CreateFileMappingW(file.get(), nullptr, PAGE_READONLY, 0, 0, nullptr));
    if (!mapping.valid()) cannotRead(path, "it cannot be mapped into memory");
    const void *data = MapViewOfFile(mapping.get(), FILE_MAP_READ, 0, 0, 0);
    if (data == nullptr) cannotRead(path, "it cannot be mapped into memory");

    std::shared_ptr<MappedFile> result(new MappedFile);
    result->path_ = path;
    result->data_ = static_cast<const std::byte *>(data);
    result->size_ = static_cast<std::uint64_t>(size.QuadPart);
    result->identity_ = identityOf(file.get());
    return result;
}

MappedFile::~MappedFile() {
    if (data_ != nullptr) UnmapViewOfFile(data_);
}

void MappedFile::release(std::uint64_t, std::uint64_t) const {}

#else

std::shared_ptr<const MappedFile> MappedFile::open(const std::string &path) {
    // O_NONBLOCK: opening a named pipe must not wait for somebody to write into it.
    const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (file.get() < 0) cannotRead(path, std::strerror(errno));
    struct stat status {};
    if (::fstat(file.get(), &status) != 0) cannotRead(path, std::strerror(errno));
    if (!S_ISREG(status.st_mode)) {
        throw Error("MODEL_FORMAT", "'" + path + "' is not a regular file", {{"path", path}});
    }
    if (status.st_size == 0) emptyFile(path);

    const auto size = static_cast<std::size_t>(status.st_size);
    void *data = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.get(), 0);
    if (data == MAP_FAILED) cannotRead(path, std::strerror(errno));

    const std::shared_ptr<MappedFile> result(new MappedFile);
    result->path_ = path;
    result->data_ = static_cast<const std::byte *>(data);
    result->size_ = size;
    result->identity_ = identityOf(status);
    return result;
}

MappedFile::~MappedFile() {
    if (data_ != nullptr) ::munmap(const_cast<std::byte *>(data_), size_);
}

void MappedFile::release(std::uint64_t offset, std::uint64_t bytes) const {
    const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
    const std::uint64_t first = (offset + page - 1) / page * page;
    const std::uint64_t end = (offset + bytes) / page * page;
    if (end > first) ::madvise(const_cast<std::byte *>(data_) + first, end - first, MADV_DONTNEED);
}

#endif

bool MappedFile::isReplaced() const {
    const auto now = identityOf(path_);
    return now && !(*now == identity_);
}

void MappedFile::requireUnchanged() const {
    const auto now = identityOf(path_);
    if (!now) cannotRead(path_, "the model was loaded from it, but it is gone; load a model again");
    if (*now == identity_) return;
    throw Error("MODEL_FORMAT",
                "'" + path_ + "' has changed since the model was loaded from it; load it again",
                {{"path", path_}});
}

} // namespace magicmix
