#pragma once

#include <map>
#include <stdexcept>
#include <string>
#include <utility>
#include <variant>

namespace magicmix {

/// A value at fault, for programs that react to an error: a name, a number.
using ErrorDetails = std::map<std::string, std::variant<std::string, double>>;

/// Everything that can go wrong in the engine. `code` is stable and part of the public interface:
///
/// - `INVALID_ARGUMENT`   a value is out of the documented range
/// - `MODEL_NOT_FOUND`    no file or folder at the path
/// - `MODEL_FORMAT`       the file is damaged, or not a checkpoint at all
/// - `MODEL_UNSUPPORTED`  a checkpoint, but of a network that we do not run
/// - `CONFIG_NEEDED`      the file does not declare a number that the network needs
/// - `DEVICE_UNAVAILABLE` the device asked for is not there
/// - `OUT_OF_MEMORY`      an allocation was refused, or would not fit
/// - `OUT_OF_THREADS`     the system gives the process no thread
/// - `DISK_FULL`          a file would not fit, or did not
/// - `FILE_UNWRITABLE`    a file cannot be written for another reason
/// - `NOT_FINITE`         a network gave values that are NaN or infinite
/// - `DEVICE_FAILED`      a GPU stopped working in the middle of a computation
/// - `INTERNAL`           a bug of ours
class Error : public std::runtime_error {
public:
    Error(std::string code, const std::string &message, ErrorDetails details = {})
        : std::runtime_error(message), code_(std::move(code)), details_(std::move(details)) {}

    const std::string &code() const noexcept { return code_; }
    const ErrorDetails &details() const noexcept { return details_; }

private:
    std::string code_;
    ErrorDetails details_;
};

/// Thrown out of any long operation whose `Cancellation` has been requested, after it has unwound.
class Cancelled : public Error {
public:
    Cancelled() : Error("CANCELLED", "the operation was cancelled") {}
};

} // namespace magicmix
