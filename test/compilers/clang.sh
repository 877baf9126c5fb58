#!/usr/bin/env bash
# Whether clang, which builds the addon on a Mac, takes binding/ with our warnings; test/fuzz builds cpp/ with it.
set -euo pipefail
cd "$(dirname "$0")/../.."
modules=node_modules
printf '%s\0' binding/*.cpp | xargs -0 -n 1 -P "$(nproc)" "${CLANG:-clang++}" -fsyntax-only -std=c++17 \
  -Wall -Wextra -Wpedantic -Wshadow -Werror -DNAPI_VERSION=8 -DNODE_ADDON_API_CPP_EXCEPTIONS \
  -DNODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS -Icpp -isystem $modules/node-api-headers/include \
  -isystem $modules/node-addon-api -isystem $modules/ggml-source/cpp/whisper.cpp/ggml/include
