#include "tensor/machine.h"

#include "base/text.h"

#include <algorithm>
#include <fstream>
#include <limits>
#include <optional>
#include <sstream>
#include <thread>
#include <vector>

#ifdef __linux__
#include <sched.h>
#endif

namespace magicmix {
namespace {

constexpr std::uint64_t kNoLimit = std::numeric_limits<std::uint64_t>::max();

std::optional<std::string> firstLine(const std::string &file) {
    std::ifstream stream(file);
    std::string line;
    if (!std::getline(stream, line)) return std::nullopt;
    return line;
}

/// Empty for "max", "-1" and whatever is no number.
std::optional<std::uint64_t> numberIn(const std::string &text) {
    std::uint64_t number = 0;
    std::istringstream words(text);
    if (text.empty() || text[0] == '-' || !(words >> number)) return std::nullopt;
    return number;
}

/// The number behind `key` in lines of keys and numbers.
std::optional<std::uint64_t> numberOf(const std::string &file, const std::string &key) {
    std::ifstream stream(file);
    std::string line;
    while (std::getline(stream, line)) {
        if (const auto rest = after(line, key + " ")) return numberIn(*rest);
    }
    return std::nullopt;
}

struct Limits {
    double cores = std::numeric_limits<double>::infinity();
    std::uint64_t memory = kNoLimit; ///< that is still free

    void quota(double microseconds, double period) {
        if (period > 0) cores = std::min(cores, microseconds / period);
    }
    /// Files that the system has cached are given up when memory is asked for.
    void use(std::optional<std::uint64_t> most, std::optional<std::uint64_t> used,
             std::optional<std::uint64_t> cached) {
        if (!most || !used) return;
        const std::uint64_t taken = *used - std::min(*used, cached.value_or(0));
        memory = std::min(memory, *most - std::min(*most, taken));
    }
};

/// A cgroup's folder and those above it, whose limits hold as well. Inside of a container its path
/// may be the one outside, which is not there; the limits are at the top then.
std::vector<std::string> foldersUpFrom(const std::string &top, std::string path) {
    std::vector<std::string> folders;
    while (path.size() > 1) {
        folders.push_back(top + path);
        path.erase(std::min(path.rfind('/'), path.size()));
    }
    folders.push_back(top);
    return folders;
}

void readV2(const std::string &folder, Limits &limits) {
    if (const auto line = firstLine(folder + "/cpu.max")) {
        std::istringstream words(*line);
        std::string quota;
        double period = 0;
        words >> quota >> period;
        if (const auto microseconds = numberIn(quota)) {
            limits.quota(static_cast<double>(*microseconds), period);
        }
    }
    limits.use(numberIn(firstLine(folder + "/memory.max").value_or("")),
               numberIn(firstLine(folder + "/memory.current").value_or("")),
               numberOf(folder + "/memory.stat", "inactive_file"));
}

void readV1(const std::string &folder, Limits &limits) {
    const auto quota = numberIn(firstLine(folder + "/cpu.cfs_quota_us").value_or(""));
    const auto period = numberIn(firstLine(folder + "/cpu.cfs_period_us").value_or(""));
    if (quota && period) limits.quota(static_cast<double>(*quota), static_cast<double>(*period));
    limits.use(numberIn(firstLine(folder + "/memory.limit_in_bytes").value_or("")),
               numberIn(firstLine(folder + "/memory.usage_in_bytes").value_or("")),
               numberOf(folder + "/memory.stat", "total_inactive_file"));
}

/// Lines of /proc/self/cgroup are "0::/path" (v2) and "4:cpu,cpuacct:/path" (v1).
Limits cgroupLimits(const std::string &root) {
    Limits limits;
    std::ifstream stream(root + "/proc/self/cgroup");
    std::string line;
    while (std::getline(stream, line)) {
        const std::size_t first = line.find(':'), second = line.find(':', first + 1);
        if (first == std::string::npos || second == std::string::npos) continue;
        const std::string controllers = line.substr(first + 1, second - first - 1);
        const std::string top = root + "/sys/fs/cgroup" + (controllers.empty() ? "" : "/");
        for (const auto &folder : foldersUpFrom(top + controllers, line.substr(second + 1))) {
            if (controllers.empty()) {
                readV2(folder, limits);
            } else {
                readV1(folder, limits);
            }
        }
    }
    return limits;
}

int coresByAffinity() {
#ifdef __linux__
    cpu_set_t set;
    CPU_ZERO(&set);
    // Fails on machines of more than 1024 cores; then all of them count.
    if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
#endif
    return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

} // namespace

MachineShare machineShare(const std::string &root) {
    const Limits limits = cgroupLimits(root);
    MachineShare share;
    share.cores = coresByAffinity();
    if (limits.cores < share.cores) share.cores = std::max(1, static_cast<int>(limits.cores));
    const auto available = numberOf(root + "/proc/meminfo", "MemAvailable:");
    if (available || limits.memory != kNoLimit) {
        const std::uint64_t free = available.value_or(kNoLimit / 1024) * 1024;
        share.memory = std::max<std::uint64_t>(1, std::min(free, limits.memory));
    }
    return share;
}

} // namespace magicmix
