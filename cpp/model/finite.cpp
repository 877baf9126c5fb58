#include "model/finite.h"

#include "base/error.h"
#include "base/numbers.h"

namespace magicmix {
namespace {

void require(const std::vector<float> &values, const std::string &network,
             const std::string &remedy) {
    if (allFinite(values)) return;
    throw Error("NOT_FINITE", network +
                                  " gave values that are not finite numbers; the weights are "
                                  "damaged, or too large for this precision (" +
                                  remedy + ")");
}

} // namespace

void requireFinite(const std::vector<float> &values, const std::string &network) {
    require(values, network, "try f32");
}

void requireFiniteVae(const std::vector<float> &values) {
    require(values, "the autoencoder",
            "that of Stable Diffusion XL is in f16: load with precision bf16 or f32, or name an "
            "autoencoder that was made for f16 with the option vae");
}

} // namespace magicmix
