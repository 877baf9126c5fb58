#include "tensor/conversion.h"

#include <algorithm>
#include <cstring>

namespace magicmix {

BlockSize blockSize(ggml_type type) { return {ggml_blck_size(type), ggml_type_size(type)}; }

bool isQuantised(ggml_type type) { return ggml_is_quantized(type); }

void toFloats(ggml_type type, const std::byte *data, std::size_t first, std::size_t count,
              float *out) {
    if (count == 0) return;
    const BlockSize block = blockSize(type);
    const auto values = static_cast<std::size_t>(block.values);
    const std::size_t firstBlock = first / values;
    const std::size_t blocks = (first + count + values - 1) / values - firstBlock;
    std::vector<std::byte> aligned(blocks * block.bytes);
    std::memcpy(aligned.data(), data + firstBlock * block.bytes, aligned.size());
    if (type == GGML_TYPE_F32) {
        std::memcpy(out, aligned.data(), aligned.size());
        return;
    }
    const auto unpack = ggml_get_type_traits(type)->to_float;
    if (blocks * values == count) {
        unpack(aligned.data(), out, static_cast<std::int64_t>(count));
        return;
    }
    std::vector<float> all(blocks * values);
    unpack(aligned.data(), all.data(), static_cast<std::int64_t>(all.size()));
    std::copy_n(all.data() + first % values, count, out);
}

void fromFloats(const float *values, std::size_t count, ggml_type type, std::byte *out) {
    const auto n = static_cast<std::int64_t>(count);
    switch (type) {
    case GGML_TYPE_F32: std::memcpy(out, values, count * sizeof(float)); break;
    case GGML_TYPE_F16:
        ggml_fp32_to_fp16_row(values, reinterpret_cast<ggml_fp16_t *>(out), n);
        break;
    case GGML_TYPE_BF16:
        ggml_fp32_to_bf16_row_ref(values, reinterpret_cast<ggml_bf16_t *>(out), n);
        break;
    default: ggml_quantize_chunk(type, values, out, 0, 1, n, nullptr);
    }
}

void Converter::convert(ggml_type type, const std::byte *data, std::size_t first, std::size_t count,
                        ggml_type newType, std::byte *out) {
    const BlockSize block = blockSize(type);
    const auto values = static_cast<std::size_t>(block.values);
    if (type == newType && first % values == 0 && count % values == 0) {
        std::memcpy(out, data + first / values * block.bytes, count / values * block.bytes);
        return;
    }
    floats_.resize(std::max(floats_.size(), count));
    toFloats(type, data, first, count, floats_.data());
    fromFloats(floats_.data(), count, newType, out);
}

} // namespace magicmix
