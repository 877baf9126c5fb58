# ggml's backends as shared libraries that the addon loads when the machine has what they need:
# its CPU backend for newer instruction sets, and one for every kind of GPU that is asked for.
#
#   MAGICMIX_VULKAN  needs Vulkan's headers (1.4 or later), its loader, glslc and SPIR-V's headers
#   MAGICMIX_CUDA    needs the CUDA toolkit with cuBLAS; of it, only cuBLAS where it runs
#   MAGICMIX_METAL   needs nothing else; on for a Mac
#
# Each library holds all of ggml that it uses and shows three functions: `ggml_backend_init` and
# `ggml_backend_score` of ggml's, and `magicmix_backend_prepare` (backend_entry.cpp). So nothing of
# ours can meet another ggml in the same process, whether by the names of its symbols or by the
# names of its libraries. They lie beside the addon: those of `magicmix.node` in
# `magicmix.backends/`.

option(MAGICMIX_CPU_VARIANTS "Build the CPU backend for newer instruction sets" ON)
option(MAGICMIX_VULKAN "Build the Vulkan backend" OFF)
option(MAGICMIX_CUDA "Build the CUDA backend" OFF)
option(MAGICMIX_METAL "Build the Metal backend" ${APPLE})
set(MAGICMIX_VULKAN_INCLUDE "" CACHE PATH "Vulkan headers, if not those of the system")

set(_scripts "${CMAKE_CURRENT_SOURCE_DIR}/third_party")
set(_backends "${CMAKE_LIBRARY_OUTPUT_DIRECTORY}")
if(NOT _backends)
  set(_backends "${CMAKE_CURRENT_BINARY_DIR}/Release")
endif()
set(_backends "${_backends}/magicmix.backends")

# `target` is a library that `ggml_add_backend_library` made.
function(magicmix_backend target name)
  magicmix_adopt(${target})
  target_sources(${target} PRIVATE "${_scripts}/backend_entry.cpp")
  set_target_properties(${target} PROPERTIES
    PREFIX "" OUTPUT_NAME "magicmix-${name}" EXCLUDE_FROM_ALL OFF
    LIBRARY_OUTPUT_DIRECTORY "${_backends}"
    LIBRARY_OUTPUT_DIRECTORY_RELEASE "${_backends}"
    RUNTIME_OUTPUT_DIRECTORY_RELEASE "${_backends}")
  if(CMAKE_SYSTEM_NAME STREQUAL "Linux")
    target_link_options(${target} PRIVATE
      -Wl,-Bsymbolic -Wl,--gc-sections -Wl,--version-script=${_scripts}/backend.map)
    # A module of a version would come with two links to it.
    set_property(TARGET ${target} PROPERTY VERSION)
    set_property(TARGET ${target} PROPERTY SOVERSION)
  endif()
  add_dependencies(magicmix_backends ${target})
endfunction()

add_custom_target(magicmix_backends ALL)

# What ggml's own CMake would build beside a shared libggml-base, built beside a static one.
set(GGML_BACKEND_DL ON)
set(BUILD_SHARED_LIBS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY "${_backends}")

# ggml's CMake names the CPU's sources relative to its own folder; they are built from a copy, where
# our list of variants stands in the place of its own.
if(MAGICMIX_CPU_VARIANTS AND NOT CMAKE_SYSTEM_NAME STREQUAL "Darwin")
  set(_variants "${CMAKE_CURRENT_BINARY_DIR}/third_party/cpu-variants")
  file(COPY "${MAGICMIX_GGML_COPY}/src/ggml-cpu" DESTINATION "${_variants}")
  file(GLOB _headers "${MAGICMIX_GGML_COPY}/src/*.h")
  file(COPY ${_headers} DESTINATION "${_variants}")
  configure_file(third_party/cpu-variants.cmake "${_variants}/CMakeLists.txt" COPYONLY)
  add_subdirectory("${_variants}" "${CMAKE_CURRENT_BINARY_DIR}/third_party/cpu-variants-build")
endif()

if(MAGICMIX_VULKAN)
  if(MAGICMIX_VULKAN_INCLUDE)
    set(Vulkan_INCLUDE_DIR "${MAGICMIX_VULKAN_INCLUDE}" CACHE PATH "" FORCE)
  endif()
  add_subdirectory("${MAGICMIX_GGML_COPY}/src/ggml-vulkan"
                   "${CMAKE_CURRENT_BINARY_DIR}/third_party/vulkan-build")
  magicmix_backend(ggml-vulkan vulkan)
endif()

if(MAGICMIX_CUDA)
  set(GGML_CUDA ON)
  # A GPU is all that a mix uses; a library that talks to several is not asked for because it is there.
  set(GGML_CUDA_NCCL OFF)
  # The kernels of a step are launched together, not one by one.
  set(GGML_CUDA_GRAPHS ON)
  add_subdirectory("${MAGICMIX_GGML_COPY}/src/ggml-cuda"
                   "${CMAKE_CURRENT_BINARY_DIR}/third_party/cuda-build")
  magicmix_backend(ggml-cuda cuda)
  # Kernels of our own stand in the place of some of ggml's, which they include for all else.
  set(_cuda "${MAGICMIX_GGML_COPY}/src/ggml-cuda")
  get_target_property(_sources ggml-cuda SOURCES)
  list(FILTER _sources EXCLUDE REGEX "/(im2col|binbcast)\\.cu$")
  set_target_properties(ggml-cuda PROPERTIES SOURCES "${_sources}")
  set(_own "${CMAKE_CURRENT_SOURCE_DIR}/cpp/cuda/patches.cu"
           "${CMAKE_CURRENT_SOURCE_DIR}/cpp/cuda/sums.cu")
  target_sources(ggml-cuda PRIVATE ${_own})
  set_source_files_properties(${_own} TARGET_DIRECTORY ggml-cuda
                              PROPERTIES INCLUDE_DIRECTORIES "${_cuda};${MAGICMIX_GGML_COPY}/src")
  # CMake links the static runtime to whatever has CUDA code; ggml would add the shared one.
  get_target_property(_libraries ggml-cuda LINK_LIBRARIES)
  list(TRANSFORM _libraries REPLACE "^CUDA::cudart$" "CUDA::cudart_static")
  set_target_properties(ggml-cuda PROPERTIES LINK_LIBRARIES "${_libraries}")
endif()

if(MAGICMIX_METAL)
  set(GGML_METAL_EMBED_LIBRARY ON)
  add_subdirectory("${MAGICMIX_GGML_COPY}/src/ggml-metal"
                   "${CMAKE_CURRENT_BINARY_DIR}/third_party/metal-build")
  magicmix_backend(ggml-metal metal)
endif()

set(GGML_BACKEND_DL OFF)
set(BUILD_SHARED_LIBS OFF)
unset(CMAKE_RUNTIME_OUTPUT_DIRECTORY)
