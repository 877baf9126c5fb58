#!/usr/bin/env bash
# Builds the addon and the Metal library for an ARM Mac on another system, in build/apple. Nothing of it
# is run. By hand, because FOLDER is not ours to give: it has the SDK's `include` (with c++/v1),
# `Frameworks` and `lib`, as the repository hexops/xcode-frameworks on GitHub does. Needs clang, lld and
# llvm (Debian: clang-19, lld-19, llvm-19).
#
#     test/compilers/apple.sh FOLDER [LLVM]     # /usr/lib/llvm-19/bin
set -euo pipefail
cd "$(dirname "$0")/../.."
folder=$(cd "${1:?usage: test/compilers/apple.sh FOLDER [LLVM]}" && pwd)
llvm=${2:-/usr/lib/llvm-19/bin}
build=build/apple
sdk=$PWD/$build/sdk
rm -rf "$sdk"
mkdir -p "$sdk/System/Library" "$sdk/usr" "$sdk/lib" "$sdk/Frameworks"

# A folder of links, laid out as the linker wants it: frameworks with the names of their versions, too,
# and empty libraries in the place of those that every program of a Mac is linked to.
ln -s "$folder/include" "$sdk/include"
ln -s ../../Frameworks "$sdk/System/Library/Frameworks"
ln -s ../lib "$sdk/usr/lib"
for framework in "$folder"/Frameworks/*.framework; do
  here=$sdk/Frameworks/$(basename "$framework")
  mkdir -p "$here/Versions"
  find "$framework" -mindepth 1 -maxdepth 1 ! -name Versions -exec ln -s {} "$here" \;
  for version in A B C Current; do ln -s .. "$here/Versions/$version"; done
done
for library in "$folder"/lib/*.tbd; do ln -s "$library" "$sdk/lib"; done
for name in System c++ dl m pthread; do
  if [ -e "$sdk/lib/lib$name.tbd" ]; then continue; fi
  printf -- "--- !tapi-tbd\ntbd-version: 4\ntargets: [ arm64-macos ]\ninstall-name: '/usr/lib/lib%s.dylib'\nexports: []\n...\n" \
    "$name" >"$sdk/lib/lib$name.tbd"
done

cmake -S . -B $build -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_TOOLCHAIN_FILE=test/compilers/apple.cmake \
  -DMAGICMIX_APPLE="$sdk" -DMAGICMIX_LLVM="$llvm" -DMAGICMIX_METAL=ON \
  -DCMAKE_JS_INC="$PWD/node_modules/node-api-headers/include" >$build/configure.log || {
  tail -30 $build/configure.log >&2
  exit 1
}
cmake --build $build
for made in $build/magicmix.node $build/Release/magicmix.backends/magicmix-metal.so; do
  # What neither Node nor the system has would be missed at run time only.
  if "$llvm/llvm-nm" -u "$made" | grep -iE 'ggml|gguf|magicmix'; then
    echo "$made lacks these" >&2
    exit 1
  fi
  "$llvm/llvm-objdump" --macho --private-header "$made" | tail -1
done
