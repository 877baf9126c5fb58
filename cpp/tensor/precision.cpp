#include "tensor/precision.h"

#include "error.h"

namespace magicmix {

Precision parsePrecision(const std::string &name) {
    if (name == "f32") return Precision::F32;
    if (name == "f16" || name == "auto") return Precision::F16;
    if (name == "bf16") return Precision::BF16;
    throw Error("INVALID_ARGUMENT",
                "precision '" + name + "' is unknown; known: auto, f32, f16, bf16",
                {{"precision", name}});
}

const char *precisionName(Precision precision) {
    switch (precision) {
    case Precision::F32: return "f32";
    case Precision::F16: return "f16";
    case Precision::BF16: return "bf16";
    }
    return "f32";
}

ggml_type weightType(Precision precision) {
    switch (precision) {
    case Precision::F32: return GGML_TYPE_F32;
    case Precision::F16: return GGML_TYPE_F16;
    case Precision::BF16: return GGML_TYPE_BF16;
    }
    return GGML_TYPE_F32;
}

kernels::Storage storageOf(Precision precision) {
    switch (precision) {
    case Precision::F32: return kernels::Storage::F32;
    case Precision::F16: return kernels::Storage::F16;
    case Precision::BF16: return kernels::Storage::BF16;
    }
    return kernels::Storage::F32;
}

} // namespace magicmix
