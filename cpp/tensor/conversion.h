#pragma once

#include <ggml.h>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace magicmix {

/// Weights that share factors lie in blocks; the others are blocks of one.
struct BlockSize {
    std::int64_t values = 1;
    std::size_t bytes = 0;
};
BlockSize blockSize(ggml_type type);

/// Is it one of ggml's types in which weights share factors?
bool isQuantised(ggml_type type);

/// `count` values from `first` on, of values of any type that weights are stored in. `first` need
/// not begin a block, nor `data` be aligned.
void toFloats(ggml_type type, const std::byte *data, std::size_t first, std::size_t count,
              float *out);

/// `count` values, whole blocks, in another type: f32, f16, bf16 or quantised.
void fromFloats(const float *values, std::size_t count, ggml_type type, std::byte *out);

/// As `fromFloats`, remembering memory for what is in between. Values that are of that type already
/// are copied.
class Converter {
public:
    void convert(ggml_type type, const std::byte *data, std::size_t first, std::size_t count,
                 ggml_type newType, std::byte *out);

private:
    std::vector<float> floats_;
};

} // namespace magicmix
