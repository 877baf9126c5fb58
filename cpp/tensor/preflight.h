#pragma once

#include <string>

namespace magicmix {

/// How far results of a device are from the CPU's.
struct Preflight {
    double error = 0; ///< relative, of all values together
    bool passed = false;
};

/// Runs every kind of operation of the networks once, in small, on a device and on the CPU.
/// Throws `DEVICE_UNAVAILABLE` and `DEVICE_FAILED`.
Preflight preflight(const std::string &device);

} // namespace magicmix
