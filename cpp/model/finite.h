#pragma once

#include <string>
#include <vector>

namespace magicmix {

/// NaN would silently yield a black picture. Throws `NOT_FINITE`; `network` is its subject.
void requireFinite(const std::vector<float> &values, const std::string &network);
/// The same of an autoencoder.
void requireFiniteVae(const std::vector<float> &values);

} // namespace magicmix
