#include "model/finite.h"

#include "base/error.h"
#include "base/numbers.h"

namespace magicmix {

void requireFinite(const std::vector<float> &values, const std::string &network) {
    if (allFinite(values)) return;
    throw Error("NOT_FINITE", network + " gave values that are not finite numbers; the weights are "
                                        "damaged, or too large for this precision (try f32)");
}

} // namespace magicmix
