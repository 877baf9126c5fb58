#include "convert/output_file.h"

#include "base/error.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <random>

#ifdef _WIN32
#include <io.h>
#else
#include <fcntl.h>
#include <unistd.h>
#endif

namespace magicmix {
namespace {

namespace fs = std::filesystem;

#ifdef O_TMPFILE

/// A file without a name, which nothing is left of if the process is killed; null where the file
/// system has no such files.
std::FILE *createNameless(const std::string &path) {
    std::string folder = fs::u8path(path).parent_path().u8string();
    if (folder.empty()) folder = ".";
    const int descriptor = ::open(folder.c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, 0666);
    if (descriptor < 0) return nullptr;
    std::FILE *file = ::fdopen(descriptor, "wb");
    if (file == nullptr) ::close(descriptor);
    return file;
}

bool giveName(std::FILE *file, const std::string &path) {
    const std::string link = "/proc/self/fd/" + std::to_string(fileno(file));
    return ::linkat(AT_FDCWD, link.c_str(), AT_FDCWD, path.c_str(), AT_SYMLINK_FOLLOW) == 0;
}

#else

std::FILE *createNameless(const std::string &) { return nullptr; }
bool giveName(std::FILE *, const std::string &) { return false; }

#endif

/// "wbx": never the file of somebody else.
std::FILE *createFile(const std::string &path) {
#ifdef _WIN32
    return _wfopen(fs::u8path(path).wstring().c_str(), L"wbx");
#else
    return std::fopen(path.c_str(), "wbx");
#endif
}

int synchronise(std::FILE *file) {
#ifdef _WIN32
    return _commit(_fileno(file));
#else
    return ::fsync(fileno(file));
#endif
}

void requireSpace(const std::string &path, std::uint64_t bytes) {
    std::error_code unknown;
    const fs::path folder = fs::absolute(fs::u8path(path), unknown).parent_path();
    const fs::space_info space = fs::space(folder, unknown);
    if (unknown || space.available >= bytes) return;
    throw Error("DISK_FULL",
                "'" + path + "' will have " + std::to_string(bytes / 1048576) + " MiB, but only " +
                    std::to_string(space.available / 1048576) + " are free",
                {{"path", path},
                 {"neededBytes", static_cast<double>(bytes)},
                 {"freeBytes", static_cast<double>(space.available)}});
}

} // namespace

OutputFile::OutputFile(const std::string &path, std::uint64_t bytes)
    : path_(path), partPath_(path + "." + std::to_string(std::random_device()()) + ".part") {
    requireSpace(path, bytes);
    file_.reset(createNameless(path));
    nameless_ = file_ != nullptr;
    if (!file_) file_.reset(createFile(partPath_));
    if (!file_) {
        const int error = errno;
        partPath_.clear();
        fail(error);
    }
}

OutputFile::~OutputFile() {
    file_.reset();
    std::error_code ignored;
    if (!partPath_.empty() && !nameless_) fs::remove(fs::u8path(partPath_), ignored);
}

void OutputFile::write(const std::byte *data, std::size_t bytes) {
    if (std::fwrite(data, 1, bytes, file_.get()) != bytes) fail(errno);
    position_ += bytes;
}

void OutputFile::commit() {
    if (std::fflush(file_.get()) != 0 || synchronise(file_.get()) != 0) fail(errno);
    if (nameless_) {
        if (!giveName(file_.get(), partPath_)) fail(errno);
        nameless_ = false;
    }
    file_.reset();
    std::error_code error;
    fs::rename(fs::u8path(partPath_), fs::u8path(path_), error);
    if (error) fail(error.value());
    partPath_.clear();
}

void OutputFile::fail(int error) const {
    throw Error(error == ENOSPC ? "DISK_FULL" : "FILE_UNWRITABLE",
                "cannot write '" + path_ + "': " + std::strerror(error), {{"path", path_}});
}

} // namespace magicmix
