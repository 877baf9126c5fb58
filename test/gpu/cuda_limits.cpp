#include "cuda_limits.h"

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <sstream>

namespace {

constexpr std::int64_t kMostCounted = std::numeric_limits<std::int32_t>::max();
constexpr std::int64_t kMostBlocks = 65535; // along y and z

bool isOneOf(ggml_type type, std::initializer_list<ggml_type> types) {
    return std::find(types.begin(), types.end(), type) != types.end();
}

bool isFloat(ggml_type type) { return isOneOf(type, {GGML_TYPE_F32, GGML_TYPE_F16}); }

std::int64_t ceilDivide(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

/// How many blocks an operation's kernel is launched with. Most lay everything along x, which has
/// room for 2^31.
struct Grid {
    std::int64_t y = 1, z = 1;
};

/// A copy that turns rows into columns goes by tiles of 32 x 32, and by eight matrices.
Grid gridOfCopy(const ggml_tensor *from, const ggml_tensor *to) {
    const auto element = static_cast<std::int64_t>(ggml_element_size(from));
    const auto stride = [&](int axis) { return static_cast<std::int64_t>(from->nb[axis]); };
    const bool plain = from->type == to->type && ggml_is_contiguous(from) && ggml_is_contiguous(to);
    const bool turns = from->type == to->type && stride(1) == element && from->ne[3] == 1 &&
                       stride(2) == from->ne[0] * from->ne[1] * element;
    if (plain || !turns) return {};
    return {ceilDivide(from->ne[0], 32), ceilDivide(from->ne[2], 8)};
}

Grid gridOf(const ggml_tensor *operation) {
    const std::int64_t *sizes = operation->ne;
    const ggml_tensor *a = operation->src[0], *b = operation->src[1];
    switch (operation->op) {
    case GGML_OP_PAD: return {sizes[1], sizes[2] * sizes[3]};
    case GGML_OP_NORM:
    case GGML_OP_SOFT_MAX: return {sizes[2], sizes[3]};
    case GGML_OP_CONCAT:
        if (ggml_is_contiguous(a) && ggml_is_contiguous(b)) return {};
        return {sizes[2], sizes[3]};
    case GGML_OP_CPY:
    case GGML_OP_CONT: return gridOfCopy(a, operation);
    case GGML_OP_DIAG_MASK_INF: return {ceilDivide(sizes[0], 32), 1};
    case GGML_OP_MUL_MAT: return {sizes[2], sizes[3]};            // of a factor with few columns
    case GGML_OP_FLASH_ATTN_EXT: return {1, a->ne[2] * a->ne[3]}; // heads of all pictures
    default: return {};
    }
}

/// Kernels that know no other type; the real ones assert it.
bool wantsF32(const ggml_tensor *operation) {
    switch (operation->op) {
    case GGML_OP_PAD:
    case GGML_OP_NORM:
    case GGML_OP_GROUP_NORM:
    case GGML_OP_UPSCALE:
    case GGML_OP_SCALE:
    case GGML_OP_SOFT_MAX:
    case GGML_OP_DIAG_MASK_INF: return true;
    default: return false;
    }
}

bool isKnown(const ggml_tensor *operation) {
    switch (operation->op) {
    case GGML_OP_NONE:
    case GGML_OP_RESHAPE:
    case GGML_OP_VIEW:
    case GGML_OP_PERMUTE:
    case GGML_OP_TRANSPOSE:
    case GGML_OP_ADD:
    case GGML_OP_MUL:
    case GGML_OP_UNARY:
    case GGML_OP_GLU:
    case GGML_OP_IM2COL:
    case GGML_OP_GET_ROWS:
    case GGML_OP_MUL_MAT:
    case GGML_OP_FLASH_ATTN_EXT:
    case GGML_OP_CONCAT:
    case GGML_OP_CPY:
    case GGML_OP_CONT: return true;
    default: return wantsF32(operation);
    }
}

/// ggml's kernels find the queries of a picture by an offset in bytes of 32 bits.
std::int64_t lastOffset(const ggml_tensor *queries) {
    return static_cast<std::int64_t>(queries->nb[3]) * (queries->ne[3] - 1);
}

} // namespace

bool cudaHas(const ggml_tensor *operation) {
    const ggml_tensor *a = operation->src[0], *b = operation->src[1];
    switch (operation->op) {
    case GGML_OP_UNARY: return ggml_is_contiguous(a) && isFloat(a->type);
    case GGML_OP_GLU: return ggml_is_contiguous_1(a) && isFloat(a->type);
    case GGML_OP_GROUP_NORM: return ggml_is_contiguous(a);
    case GGML_OP_ADD:
    case GGML_OP_MUL: return isFloat(a->type) && isFloat(b->type) && isFloat(operation->type);
    case GGML_OP_MUL_MAT: return b->type != GGML_TYPE_F16 || a->type == GGML_TYPE_F16;
    case GGML_OP_GET_ROWS:
        return isOneOf(a->type, {GGML_TYPE_F32, GGML_TYPE_F16, GGML_TYPE_BF16, GGML_TYPE_Q4_0,
                                 GGML_TYPE_Q4_1, GGML_TYPE_Q5_0, GGML_TYPE_Q5_1, GGML_TYPE_Q8_0});
    case GGML_OP_FLASH_ATTN_EXT: {
        const auto widths = {40, 64, 72, 80, 96, 112, 128, 256};
        return std::find(widths.begin(), widths.end(), b->ne[0]) != widths.end() &&
               b->type == operation->src[2]->type &&
               isOneOf(b->type, {GGML_TYPE_F32, GGML_TYPE_F16, GGML_TYPE_BF16});
    }
    default: return true;
    }
}

std::string cudaFailsAt(const ggml_tensor *operation) {
    std::ostringstream why;
    const bool isView = operation->view_src != nullptr;
    const Grid grid = gridOf(operation);
    const ggml_tensor *a = operation->src[0];
    if (!isKnown(operation)) {
        why << "is not in test/gpu/cuda_limits.cpp";
    } else if (!isView && ggml_nelements(operation) > kMostCounted) {
        why << "has " << ggml_nelements(operation) << " values, which 32 bits cannot count";
    } else if (grid.y > kMostBlocks || grid.z > kMostBlocks) {
        why << "would be launched with " << grid.y << " x " << grid.z
            << " blocks along y and z, which have room for " << kMostBlocks;
    } else if (wantsF32(operation) &&
               (a->type != GGML_TYPE_F32 || operation->type != GGML_TYPE_F32)) {
        why << "is for f32 alone, not " << ggml_type_name(a->type);
    } else if (operation->op == GGML_OP_IM2COL && operation->src[1]->type != GGML_TYPE_F32) {
        why << "makes patches of f32 alone, not " << ggml_type_name(operation->src[1]->type);
    } else if (operation->op == GGML_OP_FLASH_ATTN_EXT && lastOffset(a) > kMostCounted) {
        why << "has queries " << lastOffset(a) << " bytes apart, which 32 bits cannot count";
    }
    return why.str();
}
