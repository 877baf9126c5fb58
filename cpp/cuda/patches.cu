// The patches that convolutions multiply (ggml's im2col), on CUDA. ggml's kernel divides 64-bit
// numbers for every value that it writes, and takes twenty times as long as the memory would. This
// file stands in the place of ggml's im2col.cu and falls back to what is in there: for other
// kernels than 3 x 3 and 1 x 1, for odd numbers of channels, dilation and a third axis.

#define ggml_cuda_op_im2col ggml_cuda_op_im2col_of_any_kind
#include "im2col.cu"
#undef ggml_cuda_op_im2col

namespace {

constexpr int kThreads = 256;
constexpr int kPixels = 32; // of a row, for one block

/// Planes `[C, height, width]` of every picture, and where they are.
struct Planes {
    const float *values;
    int width, height, channels;
    std::int64_t channelStride, pictureStride; // in values
};

/// What the patches of one row of the result begin with: `offset` pixels before the row's own.
struct Window {
    int outWidth, outHeight, offsetX, offsetY;
};

__device__ inline void write(half *target, float a, float b) {
    *reinterpret_cast<half2 *>(target) = __floats2half2_rn(a, b);
}
__device__ inline void write(float *target, float a, float b) {
    *reinterpret_cast<float2 *>(target) = make_float2(a, b);
}

/// Patches `[picture, y, x, channel, Kernel, Kernel]`. A block takes `kPixels` pixels of a row and
/// `Channels` channels: what lies under them goes through shared memory, so that both reading and
/// writing are of neighbours.
template <typename T, int Kernel, int Stride, int Channels>
__global__ void patchesOf(Planes planes, Window window, T *patches) {
    constexpr int width = (kPixels - 1) * Stride + Kernel;
    constexpr int taps = Kernel * Kernel;
    constexpr int pitch = width | 1; // odd: neighbours of a column lie in different banks
    __shared__ float under[Channels * Kernel * pitch];

    const int x0 = blockIdx.x * kPixels, c0 = blockIdx.y * Channels;
    const int y = blockIdx.z % window.outHeight, picture = blockIdx.z / window.outHeight;
    const int left = x0 * Stride - window.offsetX, top = y * Stride - window.offsetY;
    const int channels = min(Channels, planes.channels - c0);
    const float *first = planes.values + picture * planes.pictureStride + c0 * planes.channelStride;

    for (int i = threadIdx.x; i < channels * Kernel * width; i += kThreads) {
        const int column = i % width, row = i / width % Kernel, c = i / (width * Kernel);
        const int inX = left + column, inY = top + row;
        const bool inside = inX >= 0 && inX < planes.width && inY >= 0 && inY < planes.height;
        under[(c * Kernel + row) * pitch + column] =
            inside ? first[c * planes.channelStride + inY * planes.width + inX] : 0.0f;
    }
    __syncthreads();

    const int pixels = min(kPixels, window.outWidth - x0);
    constexpr int pairs = Channels * taps / 2; // of a pixel
    const std::int64_t patch = static_cast<std::int64_t>(planes.channels) * taps;
    T *row = patches + (static_cast<std::int64_t>(blockIdx.z) * window.outWidth + x0) * patch +
             c0 * taps;
    const auto at = [&](int pixel, int j) {
        const int c = j / taps, tap = j % taps;
        return under[(c * Kernel + tap / Kernel) * pitch + pixel * Stride + tap % Kernel];
    };
    for (int i = threadIdx.x; i < pixels * pairs; i += kThreads) {
        const int pixel = i / pairs, j = 2 * (i % pairs);
        if (j < channels * taps) write(row + pixel * patch + j, at(pixel, j), at(pixel, j + 1));
    }
}

template <typename T, int Kernel, int Stride>
void launch(const Planes &planes, const Window &window, int pictures, T *patches,
            cudaStream_t stream) {
    constexpr int channels = Kernel == 1 ? 64 : 16;
    const dim3 blocks((window.outWidth + kPixels - 1) / kPixels,
                      (planes.channels + channels - 1) / channels, window.outHeight * pictures);
    patchesOf<T, Kernel, Stride, channels>
        <<<blocks, kThreads, 0, stream>>>(planes, window, patches);
    CUDA_CHECK(cudaGetLastError());
}

template <typename T>
bool launch(int kernel, int stride, const Planes &planes, const Window &window, int pictures,
            T *patches, cudaStream_t stream) {
    if (kernel == 3 && stride == 1)
        launch<T, 3, 1>(planes, window, pictures, patches, stream);
    else if (kernel == 3 && stride == 2)
        launch<T, 3, 2>(planes, window, pictures, patches, stream);
    else if (kernel == 1 && stride == 1)
        launch<T, 1, 1>(planes, window, pictures, patches, stream);
    else
        return false;
    return true;
}

bool writePatches(ggml_backend_cuda_context &ctx, ggml_tensor *dst) {
    const ggml_tensor *kernel = dst->src[0], *pictures = dst->src[1];
    const auto option = [&](int i) {
        return static_cast<const std::int32_t *>(static_cast<const void *>(dst->op_params))[i];
    };
    const int strideX = option(0), strideY = option(1), paddingX = option(2), paddingY = option(3);
    const bool plain = strideX == strideY && option(4) == 1 && option(5) == 1 && option(6) == 1;
    const std::int64_t rows = dst->ne[2] * dst->ne[3];
    if (!plain || kernel->ne[0] != kernel->ne[1] || pictures->ne[2] % 2 != 0 || rows > 65535 ||
        pictures->type != GGML_TYPE_F32 || pictures->nb[0] != sizeof(float) ||
        pictures->nb[1] != pictures->ne[0] * sizeof(float)) {
        return false;
    }
    const Planes planes{static_cast<const float *>(pictures->data),
                        static_cast<int>(pictures->ne[0]),
                        static_cast<int>(pictures->ne[1]),
                        static_cast<int>(pictures->ne[2]),
                        static_cast<std::int64_t>(pictures->nb[2] / sizeof(float)),
                        static_cast<std::int64_t>(pictures->nb[3] / sizeof(float))};
    const Window window{static_cast<int>(dst->ne[1]), static_cast<int>(dst->ne[2]), paddingX,
                        paddingY};
    const int count = static_cast<int>(dst->ne[3]), side = static_cast<int>(kernel->ne[0]);
    if (dst->type == GGML_TYPE_F16) {
        return launch(side, strideX, planes, window, count, static_cast<half *>(dst->data),
                      ctx.stream());
    }
    return launch(side, strideX, planes, window, count, static_cast<float *>(dst->data),
                  ctx.stream());
}

} // namespace

void ggml_cuda_op_im2col(ggml_backend_cuda_context &ctx, ggml_tensor *dst) {
    if (!writePatches(ctx, dst)) ggml_cuda_op_im2col_of_any_kind(ctx, dst);
}
