#include "checkpoint/input_file.h"

#include "base/error.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <optional>

#ifdef _WIN32
#ifndef NOMINMAX
#define NOMINMAX
#endif
#include <windows.h>
#else
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#endif

namespace magicmix {
namespace {

// Of one call: Linux reads less than 2 GiB at once, and Windows takes 32 bits.
constexpr std::size_t kMostAtOnce = std::size_t{1} << 30;

[[noreturn]] void cannotRead(const std::string &path, const std::string &why) {
    throw Error("MODEL_NOT_FOUND", "cannot read '" + path + "': " + why, {{"path", path}});
}

[[noreturn]] void fail(const std::string &path, const std::string &problem) {
    throw Error("MODEL_FORMAT", "'" + path + "' " + problem, {{"path", path}});
}

} // namespace

// ---------------------------------------------------------------------------------------------
// The system's files

#ifdef _WIN32

namespace {

std::string lastError() { return "Windows error " + std::to_string(GetLastError()); }

} // namespace

class InputFile::Handle {
public:
    /// Others may write, rename and delete the file meanwhile, as they may on other systems.
    Handle(const std::string &path, DWORD access)
        : file_(CreateFileW(std::filesystem::u8path(path).wstring().c_str(), access,
                            FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE, nullptr,
                            OPEN_EXISTING, FILE_ATTRIBUTE_NORMAL, nullptr)) {}
    ~Handle() {
        if (valid()) CloseHandle(file_);
    }
    Handle(const Handle &) = delete;
    Handle &operator=(const Handle &) = delete;

    static std::unique_ptr<const Handle> open(const std::string &path) {
        auto handle = std::make_unique<const Handle>(path, GENERIC_READ);
        if (!handle->valid()) cannotRead(path, lastError());
        return handle;
    }

    /// Of the file that has this name now.
    static std::optional<FileIdentity> identityAt(const std::string &path) {
        const Handle handle(path, 0);
        if (!handle.valid()) return std::nullopt;
        return handle.identity();
    }

    FileIdentity identity() const {
        BY_HANDLE_FILE_INFORMATION info{};
        GetFileInformationByHandle(file_, &info);
        const auto joined = [](DWORD high, DWORD low) {
            return std::uint64_t{high} << 32 | std::uint64_t{low};
        };
        return {info.dwVolumeSerialNumber, joined(info.nFileIndexHigh, info.nFileIndexLow),
                joined(info.nFileSizeHigh, info.nFileSizeLow),
                static_cast<std::int64_t>(joined(info.ftLastWriteTime.dwHighDateTime,
                                                 info.ftLastWriteTime.dwLowDateTime))};
    }

    /// The number of bytes that were read: 0 at the end of the file.
    std::size_t readSome(const std::string &path, std::uint64_t offset, std::size_t bytes,
                         std::byte *to) const {
        OVERLAPPED place{};
        place.Offset = static_cast<DWORD>(offset);
        place.OffsetHigh = static_cast<DWORD>(offset >> 32);
        DWORD done = 0;
        if (ReadFile(file_, to, static_cast<DWORD>(bytes), &done, &place)) return done;
        if (GetLastError() == ERROR_HANDLE_EOF) return 0;
        cannotRead(path, lastError());
    }

private:
    bool valid() const { return file_ != nullptr && file_ != INVALID_HANDLE_VALUE; }

    HANDLE file_;
};

#else

class InputFile::Handle {
public:
    // O_NONBLOCK: opening a named pipe must not wait for somebody to write into it.
    explicit Handle(const std::string &path)
        : file_(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {}
    ~Handle() {
        if (file_ >= 0) ::close(file_);
    }
    Handle(const Handle &) = delete;
    Handle &operator=(const Handle &) = delete;

    static std::unique_ptr<const Handle> open(const std::string &path) {
        auto handle = std::make_unique<const Handle>(path);
        struct stat status {};
        if (handle->file_ < 0 || ::fstat(handle->file_, &status) != 0) {
            cannotRead(path, std::strerror(errno));
        }
        if (!S_ISREG(status.st_mode)) fail(path, "is not a regular file");
        return handle;
    }

    /// Of the file that has this name now.
    static std::optional<FileIdentity> identityAt(const std::string &path) {
        struct stat status {};
        if (::stat(path.c_str(), &status) != 0) return std::nullopt;
        return identityOf(status);
    }

    FileIdentity identity() const {
        struct stat status {};
        ::fstat(file_, &status);
        return identityOf(status);
    }

    /// The number of bytes that were read: 0 at the end of the file.
    std::size_t readSome(const std::string &path, std::uint64_t offset, std::size_t bytes,
                         std::byte *to) const {
        while (true) {
            const auto done = ::pread(file_, to, bytes, static_cast<off_t>(offset));
            if (done >= 0) return static_cast<std::size_t>(done);
            if (errno != EINTR) cannotRead(path, std::strerror(errno));
        }
    }

private:
    static FileIdentity identityOf(const struct stat &status) {
#ifdef __APPLE__
        const timespec &modified = status.st_mtimespec;
#else
        const timespec &modified = status.st_mtim;
#endif
        return {static_cast<std::uint64_t>(status.st_dev),
                static_cast<std::uint64_t>(status.st_ino),
                static_cast<std::uint64_t>(status.st_size),
                std::int64_t{modified.tv_sec} * 1000000000 + modified.tv_nsec};
    }

    int file_;
};

#endif

// ---------------------------------------------------------------------------------------------

InputFile::InputFile(const std::string &path, std::unique_ptr<const Handle> handle)
    : path_(path), handle_(std::move(handle)), identity_(handle_->identity()) {
    if (size() == 0) fail(path, "is empty, not a checkpoint");
}

InputFile::~InputFile() = default;

std::shared_ptr<const InputFile> InputFile::open(const std::string &path) {
    return std::shared_ptr<const InputFile>(new InputFile(path, Handle::open(path)));
}

void InputFile::read(std::uint64_t offset, std::size_t bytes, std::byte *to) const {
    while (bytes > 0) {
        const std::size_t done = handle_->readSome(path_, offset, std::min(bytes, kMostAtOnce), to);
        if (done == 0) {
            fail(path_, "has become shorter since it was opened: it ends before byte " +
                            std::to_string(offset + bytes));
        }
        offset += done;
        to += done;
        bytes -= done;
    }
}

std::vector<std::byte> InputFile::read(std::uint64_t offset, std::size_t bytes) const {
    std::vector<std::byte> values(bytes);
    read(offset, bytes, values.data());
    return values;
}

std::string InputFile::readText(std::uint64_t offset, std::size_t bytes) const {
    std::string text(bytes, '\0');
    read(offset, bytes, reinterpret_cast<std::byte *>(text.data()));
    return text;
}

bool InputFile::isReplaced() const {
    const auto now = Handle::identityAt(path_);
    return now && !(*now == identity_);
}

void InputFile::requireUnchanged() const {
    const auto now = Handle::identityAt(path_);
    if (!now) cannotRead(path_, "the model was loaded from it, but it is gone; load a model again");
    if (*now == identity_) return;
    fail(path_, "has changed since the model was loaded from it; load it again");
}

} // namespace magicmix
