#!/usr/bin/env bash
# Whether nvcc takes the CUDA kernels of our own, for the architectures at both ends of what is released
# (the whole of the CUDA library takes half an hour). Of cuBLAS, which may be missing where nvcc is not,
# it gets the few names that ggml's headers use. Where there is no nvcc it says so.
set -euo pipefail
cd "$(dirname "$0")/../.."
nvcc=$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)
if [ ! -x "$nvcc" ]; then
  echo "there is no nvcc here: cpp/cuda was not compiled"
  exit
fi
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cat >"$scratch/cublas_v2.h" <<'END'
#pragma once
#include <library_types.h>
using cublasHandle_t = struct cublasContext *;
enum cublasStatus_t { CUBLAS_STATUS_SUCCESS };
enum cublasMath_t { CUBLAS_TF32_TENSOR_OP_MATH };
const char *cublasGetStatusString(cublasStatus_t);
cublasStatus_t cublasCreate(cublasHandle_t *);
cublasStatus_t cublasSetMathMode(cublasHandle_t, cublasMath_t);
END
ggml=node_modules/ggml-source/cpp/whisper.cpp/ggml
printf '%s\0' cpp/cuda/*.cu | xargs -0 -I {} -P "$(nproc)" sh -c '"$@" -o "$0/$(basename {}).o" {}' "$scratch" \
  "$nvcc" -c -std=c++17 -gencode arch=compute_75,code=compute_75 -gencode arch=compute_89,code=sm_89 \
  -Werror all-warnings -Xcompiler -Wall,-Wextra,-Wshadow,-Werror \
  -isystem "$scratch" -isystem $ggml/src/ggml-cuda -isystem $ggml/src -isystem $ggml/include
for source in cpp/cuda/*.cu; do ls "$scratch/$(basename "$source").o" >/dev/null; done
echo "nvcc takes $(ls cpp/cuda/*.cu | tr '\n' ' ')"
