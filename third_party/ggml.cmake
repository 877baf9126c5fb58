# Brings in ggml, the tensor library, and nlohmann/json, both unmodified.
#
# Sources: the npm package aliased `ggml-source` in package.json (nodejs-whisper 0.3.1, MIT; ggml
# 0.15.1, MIT; nlohmann/json 3.11.2, MIT), pinned by the integrity hash in package-lock.json. Of it
# only `cpp/whisper.cpp/ggml` and the single header `examples/json.hpp` are used. The npm package of
# magicmix carries these files in `vendor/` (scripts/vendor.mjs), for those who build from it.
# MAGICMIX_GGML_DIR takes another ggml tree, MAGICMIX_JSON_HEADER another json.hpp.

set(_vendor "${CMAKE_CURRENT_SOURCE_DIR}/vendor")
set(_whisper "${CMAKE_CURRENT_SOURCE_DIR}/node_modules/ggml-source/cpp/whisper.cpp")
if(EXISTS "${_whisper}/ggml")
  set(MAGICMIX_GGML_DIR "${_whisper}/ggml" CACHE PATH "ggml source tree")
  set(MAGICMIX_JSON_HEADER "${_whisper}/examples/json.hpp" CACHE FILEPATH "nlohmann/json's header")
else()
  set(MAGICMIX_GGML_DIR "${_vendor}/ggml" CACHE PATH "ggml source tree")
  set(MAGICMIX_JSON_HEADER "${_vendor}/json.hpp" CACHE FILEPATH "nlohmann/json's header")
endif()

if(NOT EXISTS "${MAGICMIX_GGML_DIR}/CMakeLists.txt")
  message(FATAL_ERROR "ggml's sources are not in ${MAGICMIX_GGML_DIR}. Run `npm install` first, "
                      "or set MAGICMIX_GGML_DIR to a ggml 0.15.1 tree.")
endif()
if(NOT EXISTS "${MAGICMIX_JSON_HEADER}")
  message(FATAL_ERROR "nlohmann/json is not at ${MAGICMIX_JSON_HEADER}. Run `npm install` first, "
                      "or set MAGICMIX_JSON_HEADER.")
endif()

# The tree on npm lacks the template of a pkg-config file that ggml's CMake wants to configure.
# ggml is therefore built from a copy in the build folder, with an empty template beside it.
set(MAGICMIX_GGML_COPY "${CMAKE_CURRENT_BINARY_DIR}/third_party/ggml")
file(COPY "${MAGICMIX_GGML_DIR}/CMakeLists.txt" "${MAGICMIX_GGML_DIR}/cmake"
          "${MAGICMIX_GGML_DIR}/include" "${MAGICMIX_GGML_DIR}/src"
     DESTINATION "${MAGICMIX_GGML_COPY}")
if(NOT EXISTS "${MAGICMIX_GGML_COPY}/ggml.pc.in")
  file(WRITE "${MAGICMIX_GGML_COPY}/ggml.pc.in" "")
endif()
configure_file("${MAGICMIX_JSON_HEADER}"
               "${CMAKE_CURRENT_BINARY_DIR}/third_party/json/nlohmann/json.hpp" COPYONLY)

set(BUILD_SHARED_LIBS OFF)
set(GGML_BUILD_TESTS OFF)
set(GGML_BUILD_EXAMPLES OFF)
# ggml's own thread pool: it can be cancelled inside a graph, and it shares nothing with the OpenMP
# runtimes of other addons in the process.
set(GGML_OPENMP OFF)
# Blocked matrix products, several times as fast as the plain ones.
set(GGML_LLAMAFILE ON CACHE BOOL "" FORCE)
# What is inside the addon runs on every x86-64-v2 machine; backends.cmake adds what is faster.
set(GGML_NATIVE OFF CACHE BOOL "" FORCE)
set(GGML_SSE42 ON CACHE BOOL "" FORCE)
foreach(_feature AVX AVX2 BMI2 FMA F16C)
  set(GGML_${_feature} OFF CACHE BOOL "" FORCE)
endforeach()
# Backends of GPUs are libraries of their own (backends.cmake), never part of the addon.
foreach(_backend METAL BLAS)
  set(GGML_${_backend} OFF CACHE BOOL "" FORCE)
endforeach()
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
add_subdirectory("${MAGICMIX_GGML_COPY}" "${CMAKE_CURRENT_BINARY_DIR}/third_party/ggml-build"
                 EXCLUDE_FROM_ALL)

# How every library of ggml's is compiled, and everything that includes its headers. The longest
# tensor name of Stable Diffusion checkpoints has 83 bytes; ggml's default is 64. Its headers are
# somebody else's: warnings in them are not errors of ours.
function(magicmix_adopt target)
  target_compile_definitions(${target} PUBLIC GGML_MAX_NAME=160)
  target_compile_options(${target} PRIVATE
    $<$<AND:$<NOT:$<CXX_COMPILER_ID:MSVC>>,$<COMPILE_LANGUAGE:C,CXX>>:-w>)
  get_target_property(_includes ${target} INTERFACE_INCLUDE_DIRECTORIES)
  if(_includes)
    set_target_properties(${target} PROPERTIES
      INTERFACE_SYSTEM_INCLUDE_DIRECTORIES "${_includes}")
  endif()
endfunction()

foreach(_target ggml ggml-base ggml-cpu)
  magicmix_adopt(${_target})
endforeach()

add_library(magicmix_json INTERFACE)
target_include_directories(magicmix_json SYSTEM
                           INTERFACE "${CMAKE_CURRENT_BINARY_DIR}/third_party/json")
