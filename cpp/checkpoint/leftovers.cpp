#include "checkpoint/leftovers.h"

#include "base/error.h"
#include "base/text.h"

#include <algorithm>
#include <cctype>
#include <string>

namespace magicmix {
namespace {

constexpr std::uint64_t kBeginning = 256;

/// In lower case, without white space in front.
std::string beginningOf(const InputFile &file) {
    std::string beginning =
        file.readText(0, static_cast<std::size_t>(std::min(file.size(), kBeginning)));
    beginning.erase(0, beginning.find_first_not_of(" \t\r\n"));
    std::transform(beginning.begin(), beginning.end(), beginning.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return beginning;
}

[[noreturn]] void refuse(const InputFile &file, const std::string &what) {
    throw Error("MODEL_FORMAT", "'" + file.path() + "' is " + what, {{"path", file.path()}});
}

} // namespace

void refuseLeftovers(const InputFile &file) {
    const std::string beginning = beginningOf(file);
    if (startsWith(beginning, "version https://git-lfs")) {
        refuse(file, "a pointer of Git LFS, not the file itself: run `git lfs pull` where it was "
                     "cloned, or download the file");
    }
    if (startsWith(beginning, "<!doctype") || startsWith(beginning, "<html") ||
        startsWith(beginning, "<?xml") || startsWith(beginning, "<head")) {
        refuse(file,
               "a web page (HTML), not a model: the download needs a login, or another address");
    }
    if (startsWith(beginning, "{\"") || beginning == "{}" || startsWith(beginning, "{\n")) {
        refuse(file, "text in JSON, not a model: the answer of a server, or a configuration");
    }
}

} // namespace magicmix
