#pragma once

#include "tensor/device.h"
#include "tensor/precision.h"

namespace magicmix {

/// A network, the device that its weights lie on, and the precision in which they are kept.
template <typename Network>
struct Placed {
    Device &device;
    Precision precision;
    const Network &network;
};

} // namespace magicmix
