#pragma once

#include <ggml.h>

#include <cstdint>
#include <string>
#include <vector>

namespace magicmix {

/// The types that `convert` can write, "f32" ... "q6_k". Throws `INVALID_ARGUMENT`.
ggml_type parseStoredType(const std::string &name);
/// "f32", "q4_k", ...
std::string storedTypeName(ggml_type type);

/// Whether convolutions are quantised. Rows of a kernel, of one or three values, are no whole
/// blocks, so its file has it as a matrix.
enum class Layout {
    Compact, ///< they are; a reader has to know the key that holds the true shape
    Common,  ///< they are not: every tensor has its true shape
};

/// The type in which a tensor is written when the large weights are to have the type `wanted`.
///
/// Vectors (norms, biases) stay as they are. Quantised are only matrices and convolutions of the
/// UNet and of the text encoder, in the common layout only matrices. Their embeddings, what the
/// UNet begins and ends with, and the autoencoder, whose errors are seen at once, are 16 bits wide.
/// Where the inputs of a channel do not divide into blocks of 256, a type with blocks of 32 and
/// about as many bits takes the place of a K-quant.
ggml_type typeToStore(const std::string &name, const std::vector<std::int64_t> &shape,
                      ggml_type stored, ggml_type wanted, Layout layout);

} // namespace magicmix
