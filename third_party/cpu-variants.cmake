# ggml's CPU backend once more for every instruction set that is worth it: kernels of our own do
# most of the work, so these are few. The addon takes the one with the best score. Becomes the
# CMakeLists.txt of a copy of ggml's sources (backends.cmake).

set(GGML_CPU_ALL_VARIANTS ON)
include("${MAGICMIX_GGML_COPY}/cmake/common.cmake")
ggml_get_system_arch()
include(CheckCXXCompilerFlag)
include_directories("${MAGICMIX_GGML_COPY}/include")
if(CMAKE_SYSTEM_NAME STREQUAL "Linux")
  add_compile_definitions(_GNU_SOURCE)
endif()

if(GGML_SYSTEM_ARCH STREQUAL "x86")
  set(_avx2 SSE42 AVX F16C FMA AVX2 BMI2)
  ggml_add_cpu_backend_variant(avx2 ${_avx2})
  ggml_add_cpu_backend_variant(avx512 ${_avx2} AVX512)
  set(_names avx2 avx512)
  if(NOT MSVC) # which has no intrinsics for BF16
    ggml_add_cpu_backend_variant(avx512bf16 ${_avx2} AVX512 AVX512_VBMI AVX512_VNNI AVX512_BF16)
    list(APPEND _names avx512bf16)
  endif()
elseif(GGML_SYSTEM_ARCH STREQUAL "ARM" AND CMAKE_SYSTEM_NAME STREQUAL "Linux")
  ggml_add_cpu_backend_variant(dotprod DOTPROD)
  ggml_add_cpu_backend_variant(fp16 DOTPROD FP16_VECTOR_ARITHMETIC)
  set(_names dotprod fp16)
endif()

foreach(_name ${_names})
  magicmix_backend(ggml-cpu-${_name} cpu-${_name})
endforeach()
