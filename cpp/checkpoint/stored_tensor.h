#pragma once

#include "checkpoint/input_file.h"
#include "tensor/weights.h"

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace magicmix {

/// Where a tensor's values lie in a file. Offsets and sizes have been checked against the file.
struct StoredTensor {
    std::string name; ///< as in the file
    /// "F32", "F16", "BF16", "F64", "F8_E4M3", "F8_E5M2", a quantised type of ggml ("Q8_0", "Q4_K",
    /// ...), or another that a file can hold and a network cannot use ("I64", ...).
    std::string type;
    std::vector<std::int64_t> shape; ///< torch order
    std::shared_ptr<const InputFile> file;
    std::uint64_t offset = 0; ///< from the start of the file
    std::uint64_t bytes = 0;  ///< from the first value to the last
    /// Elements from one index of each dimension to the next; empty if the values lie one after the
    /// other, as they do in all formats but torch's.
    std::vector<std::int64_t> strides;
};

using StoredTensors = std::map<std::string, StoredTensor>;

/// Does the name of any of them start so?
bool hasPrefix(const StoredTensors &tensors, const std::string &prefix);

/// What `valuesOf` gives: F64 as F32, 8-bit floats as F16, which has all of their values; quantised
/// values that do not lie one after the other as F32. Throws
/// `MODEL_UNSUPPORTED` for types that are no weights.
WeightSource::Description describe(const StoredTensor &tensor);
/// Reads the values and lays them one after the other.
WeightSource::Values valuesOf(const StoredTensor &tensor);

/// "Q4_K" and so on, in capitals; "" for a number out of use.
std::string ggmlTypeName(ggml_type type);

/// Part `index` of `parts` equal ones, along the first axis, of a tensor. Throws `MODEL_FORMAT` if
/// it cannot be divided so, and `MODEL_UNSUPPORTED` if its values do not lie one after the other.
StoredTensor partOfRows(const StoredTensor &tensor, int index, int parts);

/// A matrix turned round. Throws `MODEL_FORMAT` if it is none.
StoredTensor transposed(const StoredTensor &tensor);

/// Throws `MODEL_FORMAT` if two tensors share bytes of a file; all are of the same.
void refuseOverlaps(const StoredTensors &tensors);

/// The number of elements of a shape. Throws `MODEL_FORMAT` if it is negative somewhere or
/// overflows; `what` names the tensor in the message.
std::uint64_t elementCount(const std::vector<std::int64_t> &shape, const std::string &what);

} // namespace magicmix
