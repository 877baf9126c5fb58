# Kernels are compiled once for every instruction set and chosen when the program runs: the options of
# every file, for whoever compiles cpp/kernels in FOLDER. GCC 12 warns of its own headers for AVX-512 (its
# bug 105593).
include(CheckCXXCompilerFlag)

function(magicmix_instruction_sets folder)
  set(_avx2 -mavx2 -mfma -mf16c)
  set(_avx512 ${_avx2} -mavx512f -mavx512bw -mavx512dq -mavx512vl)
  set(_avx512bf16 -mavx512bf16)
  set(_amx -mavx512bf16 -mamx-tile -mamx-bf16)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    list(APPEND _avx512 -Wno-maybe-uninitialized)
  endif()
  check_cxx_compiler_flag("-mamx-tile -mamx-bf16" MAGICMIX_COMPILER_KNOWS_AMX) # GCC and clang from 11 on
  if(NOT MAGICMIX_COMPILER_KNOWS_AMX)
    set(_amx)
  endif()
  if(MSVC) # which has no intrinsics for bf16
    set(_avx2 /arch:AVX2)
    set(_avx512 /arch:AVX512)
    set(_avx512bf16)
    set(_amx)
  endif()
  set(_files_avx2 "${_avx2}")
  set(_files_avx512 "${_avx512}")
  set(_files_avx512bf16 "${_avx512};${_avx512bf16}")
  set(_files_amx "${_avx512};${_amx}")
  foreach(_set avx2 avx512 avx512bf16 amx)
    set_property(SOURCE "${folder}/${_set}.cpp" PROPERTY COMPILE_OPTIONS "${_files_${_set}}")
  endforeach()
endfunction()
