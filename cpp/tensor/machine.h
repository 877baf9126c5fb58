#pragma once

#include <cstdint>
#include <string>

namespace magicmix {

/// The share of the machine that this process may use.
struct MachineShare {
    int cores = 1;            ///< at least 1
    std::uint64_t memory = 0; ///< bytes that could be had without swapping; 0 where unknown
};

/// The machine's cores and memory, less than that where affinity or the limits of a container's
/// cgroup (v1 and v2) allow less. `root` stands before /proc and /sys, for tests.
MachineShare machineShare(const std::string &root = "");

} // namespace magicmix
