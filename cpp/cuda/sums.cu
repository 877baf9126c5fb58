// Sums and products of two tensors on CUDA, four values at a time, for the shapes that the networks
// have: the same shape, one value per column of every row (a bias, a norm), or one per plane (the
// same of a picture). This file stands in the place of ggml's binbcast.cu, which goes value by
// value and has half the speed of the memory, and falls back to it.

#define ggml_cuda_op_add ggml_cuda_op_add_of_any_kind
#define ggml_cuda_op_mul ggml_cuda_op_mul_of_any_kind
#include "binbcast.cu"
#undef ggml_cuda_op_add
#undef ggml_cuda_op_mul

namespace {

constexpr int kThreads = 256;

struct Add {
    __device__ static float of(float a, float b) { return a + b; }
};
struct Multiply {
    __device__ static float of(float a, float b) { return a * b; }
};

template <typename Operation>
__device__ float4 of(float4 a, float4 b) {
    return {Operation::of(a.x, b.x), Operation::of(a.y, b.y), Operation::of(a.z, b.z),
            Operation::of(a.w, b.w)};
}

template <typename Operation>
__global__ void alike(const float4 *a, const float4 *b, float4 *result, std::uint32_t count) {
    const std::uint32_t i = blockIdx.x * kThreads + threadIdx.x;
    if (i < count) result[i] = of<Operation>(a[i], b[i]);
}

/// `length`: of a row, in fours.
template <typename Operation>
__global__ void perColumn(const float4 *a, const float4 *b, float4 *result, std::uint32_t count,
                          uint3 length) {
    const std::uint32_t i = blockIdx.x * kThreads + threadIdx.x;
    if (i < count) result[i] = of<Operation>(a[i], b[fastmodulo(i, length)]);
}

/// `plane`: its size, in fours. `planes`: how many have a value of their own.
template <typename Operation>
__global__ void perPlane(const float4 *a, const float *b, float4 *result, std::uint32_t count,
                         uint3 plane, uint3 planes) {
    const std::uint32_t i = blockIdx.x * kThreads + threadIdx.x;
    if (i >= count) return;
    const float value = b[fastmodulo(fastdiv(i, plane), planes)];
    result[i] = of<Operation>(a[i], {value, value, value, value});
}

template <typename Operation>
bool combine(ggml_backend_cuda_context &ctx, ggml_tensor *dst) {
    const ggml_tensor *a = dst->src[0], *b = dst->src[1];
    const bool plain = a->type == GGML_TYPE_F32 && b->type == GGML_TYPE_F32 &&
                       dst->type == GGML_TYPE_F32 && ggml_is_contiguous(a) &&
                       ggml_is_contiguous(b) && ggml_is_contiguous(dst) &&
                       ggml_are_same_shape(a, dst);
    const std::int64_t values = ggml_nelements(dst);
    const auto isAligned = [](const void *data) {
        return reinterpret_cast<std::uintptr_t>(data) % sizeof(float4) == 0;
    };
    if (!plain || values % 4 != 0 || values / 4 > INT32_MAX || !isAligned(a->data) ||
        !isAligned(b->data) || !isAligned(dst->data)) {
        return false;
    }
    const auto count = static_cast<std::uint32_t>(values / 4);
    const auto blocks = (count + kThreads - 1) / kThreads;
    const auto *as = static_cast<const float4 *>(a->data);
    const auto *bs = static_cast<const float4 *>(b->data);
    auto *result = static_cast<float4 *>(dst->data);
    const std::int64_t ofB = ggml_nelements(b), plane = a->ne[0] * a->ne[1];
    if (ggml_are_same_shape(a, b)) {
        alike<Operation><<<blocks, kThreads, 0, ctx.stream()>>>(as, bs, result, count);
    } else if (ofB == b->ne[0] && b->ne[0] == a->ne[0] && a->ne[0] % 4 == 0) {
        perColumn<Operation><<<blocks, kThreads, 0, ctx.stream()>>>(
            as, bs, result, count, init_fastdiv_values(a->ne[0] / 4));
    } else if (b->ne[0] == 1 && b->ne[1] == 1 && b->ne[2] == a->ne[2] && plane % 4 == 0) {
        perPlane<Operation><<<blocks, kThreads, 0, ctx.stream()>>>(
            as, static_cast<const float *>(b->data), result, count, init_fastdiv_values(plane / 4),
            init_fastdiv_values(ofB));
    } else {
        return false;
    }
    CUDA_CHECK(cudaGetLastError());
    return true;
}

} // namespace

void ggml_cuda_op_add(ggml_backend_cuda_context &ctx, ggml_tensor *dst) {
    if (!combine<Add>(ctx, dst)) ggml_cuda_op_add_of_any_kind(ctx, dst);
}

void ggml_cuda_op_mul(ggml_backend_cuda_context &ctx, ggml_tensor *dst) {
    if (!combine<Multiply>(ctx, dst)) ggml_cuda_op_mul_of_any_kind(ctx, dst);
}
