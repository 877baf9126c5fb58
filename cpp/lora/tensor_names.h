#pragma once

#include <string>

namespace magicmix {

/// What a tensor in a LoRA's file is to its module.
enum class LoraPart {
    Alpha,
    // LoRA and LoCon
    Down,
    Up,
    Mid,
    // Whole changes
    Weight,
    Bias,
    // DoRA: lengths along some axes, or of rows
    Lengths,
    RowLengths,
    // LoHa: two products
    FirstUp,
    FirstDown,
    FirstMid,
    SecondUp,
    SecondDown,
    SecondMid,
    // LoKr: two factors, each whole or a product
    LeftWhole,
    LeftUp,
    LeftDown,
    RightWhole,
    RightUp,
    RightDown,
    RightMid,
};

struct LoraTensorName {
    std::string module; ///< as in `loraModules`
    LoraPart part;
};

/// Reads the name of a tensor. Throws `MODEL_UNSUPPORTED` for methods that are not read, by their
/// name, and for what no LoRA has; `path` is for the message.
LoraTensorName parseLoraTensor(const std::string &name, const std::string &path);

/// How files call a part, for messages.
std::string nameOf(LoraPart part);

/// Whether a name begins as PEFT's adapters begin theirs.
bool isOfPeftAdapter(const std::string &tensor);

} // namespace magicmix
