#include "tensor/precision.h"

#include "base/error.h"

namespace magicmix {

Precision parsePrecision(const std::string &name, bool hasBf16Kernels) {
    if (name == "f32") return Precision::F32;
    if (name == "f16") return Precision::F16;
    if (name == "bf16") return Precision::BF16;
    if (name == "q8_0") return Precision::Q8;
    if (name == "auto") return hasBf16Kernels ? Precision::BF16 : Precision::F16;
    throw Error("INVALID_ARGUMENT",
                "precision '" + name + "' is unknown; known: auto, f32, f16, bf16, q8_0",
                {{"precision", name}});
}

const char *precisionName(Precision precision) {
    switch (precision) {
    case Precision::F32: return "f32";
    case Precision::F16: return "f16";
    case Precision::BF16: return "bf16";
    case Precision::Q8: return "q8_0";
    }
    return "f32";
}

ggml_type weightType(Precision precision) {
    switch (precision) {
    case Precision::F32: return GGML_TYPE_F32;
    case Precision::F16: return GGML_TYPE_F16;
    case Precision::BF16: return GGML_TYPE_BF16;
    case Precision::Q8:
        throw Error("INVALID_ARGUMENT",
                    "precision 'q8_0' needs the CPU kernels of magicmix; use 'f16' here",
                    {{"precision", std::string("q8_0")}});
    }
    return GGML_TYPE_F32;
}

kernels::Storage storageOf(Precision precision) {
    switch (precision) {
    case Precision::F32: return kernels::Storage::F32;
    case Precision::F16: return kernels::Storage::F16;
    case Precision::BF16: return kernels::Storage::BF16;
    case Precision::Q8: return kernels::Storage::Q8;
    }
    return kernels::Storage::F32;
}

} // namespace magicmix
