#include "mix/blending.h"

#include "mix/magicmix.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace magicmix {

const std::vector<std::string> &methodNames() {
    static const std::vector<std::string> names{"magicmix",  "interpolate", "switch",
                                                "alternate", "split",       "swap"};
    return names;
}

Blend blendAt(const Method &method, int i, int steps) {
    if (method.name == "interpolate") return Blend::Interpolated;
    if (method.name == "split") return Blend::Split;
    if (method.name == "swap") return Blend::Swapped;
    const bool isLayouts = (method.name == "switch" && i < indexAt(method.share, steps)) ||
                           (method.name == "alternate" && i % method.every == 0);
    return isLayouts ? Blend::Layout : Blend::Content;
}

std::vector<bool> chosenColumns(std::size_t width, double share, Generator &generator) {
    const std::vector<float> drawn = generator.randn(width);
    std::vector<std::size_t> order(width);
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t a, std::size_t b) { return drawn[a] < drawn[b]; });
    order.resize(static_cast<std::size_t>(std::floor(share * static_cast<double>(width) + 0.5)));
    std::vector<bool> chosen(width, false);
    for (const std::size_t column : order) chosen[column] = true;
    return chosen;
}

std::vector<float> withColumns(std::vector<float> a, const std::vector<float> &b,
                               const std::vector<bool> &chosen) {
    for (std::size_t k = 0; k < a.size(); k++) {
        if (chosen[k % chosen.size()]) a[k] = b[k];
    }
    return a;
}

} // namespace magicmix
