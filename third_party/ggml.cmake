# Brings in ggml, the tensor library, and nlohmann/json, both unmodified.
#
# Sources: the npm package aliased `ggml-source` in package.json (nodejs-whisper 0.3.1, MIT; ggml
# 0.15.1, MIT; nlohmann/json 3.11.2, MIT), pinned by the integrity hash in package-lock.json. Of it
# only `cpp/whisper.cpp/ggml` and the single header `examples/json.hpp` are used.
# MAGICMIX_GGML_DIR takes another ggml tree, MAGICMIX_JSON_HEADER another json.hpp.

set(_whisper "${CMAKE_CURRENT_SOURCE_DIR}/node_modules/ggml-source/cpp/whisper.cpp")
set(MAGICMIX_GGML_DIR "${_whisper}/ggml" CACHE PATH "ggml source tree")
set(MAGICMIX_JSON_HEADER "${_whisper}/examples/json.hpp" CACHE FILEPATH "nlohmann/json single header")

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
set(_ggml "${CMAKE_CURRENT_BINARY_DIR}/third_party/ggml")
file(COPY "${MAGICMIX_GGML_DIR}/CMakeLists.txt" "${MAGICMIX_GGML_DIR}/cmake"
          "${MAGICMIX_GGML_DIR}/include" "${MAGICMIX_GGML_DIR}/src" DESTINATION "${_ggml}")
if(NOT EXISTS "${_ggml}/ggml.pc.in")
  file(WRITE "${_ggml}/ggml.pc.in" "")
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
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
add_subdirectory("${_ggml}" "${CMAKE_CURRENT_BINARY_DIR}/third_party/ggml-build" EXCLUDE_FROM_ALL)

# The longest tensor name of Stable Diffusion checkpoints has 83 bytes; ggml's default is 64.
# Everything that includes ggml.h must agree on this.
foreach(_target ggml ggml-base ggml-cpu)
  if(TARGET ${_target})
    target_compile_definitions(${_target} PUBLIC GGML_MAX_NAME=160)
    target_compile_options(${_target} PRIVATE $<$<NOT:$<CXX_COMPILER_ID:MSVC>>:-w>)
  endif()
endforeach()

# ggml's headers are somebody else's: warnings in them are not errors of ours.
foreach(_target ggml ggml-base ggml-cpu)
  if(TARGET ${_target})
    get_target_property(_includes ${_target} INTERFACE_INCLUDE_DIRECTORIES)
    set_target_properties(${_target} PROPERTIES INTERFACE_SYSTEM_INCLUDE_DIRECTORIES "${_includes}")
  endif()
endforeach()

add_library(magicmix_json INTERFACE)
target_include_directories(magicmix_json SYSTEM
                           INTERFACE "${CMAKE_CURRENT_BINARY_DIR}/third_party/json")
