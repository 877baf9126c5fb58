#!/usr/bin/env bash
# Many mixes with random aborts, disposals, changes of LoRAs and ends of worker threads, with the addon
# built for a sanitizer. Fails on what the sanitizer finds, and if memory grows. By hand: an hour for
# two thousand mixes.
#
#     test/soak/run.sh address|thread|none [MIXES]
set -euo pipefail
cd "$(dirname "$0")/../.."

sanitizer=${1:-address}
mixes=${2:-200}
here=test/soak
model=$(npx tsx -e "require('./test/support/models.ts').tinyModel().then((it) => console.log(it))")
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export MAGICMIX_CACHE=$scratch/cache

if [ "$sanitizer" = none ]; then
  node --expose-gc "$here/program.mjs" "$model" "$scratch" "$mixes"
  exit
fi

# GCC warns wrongly of its own headers once they are instrumented.
flags="-O2 -g -DNDEBUG -fno-omit-frame-pointer -fsanitize=$sanitizer -Wno-maybe-uninitialized"
npx cmake-js compile --out "$here/build-$sanitizer" --CDMAGICMIX_CPU_VARIANTS=OFF \
  --CDMAGICMIX_PROGRAMS=OFF "--CDCMAKE_CXX_FLAGS_RELEASE=$flags" \
  "--CDCMAKE_C_FLAGS_RELEASE=$flags" >"$here/build-$sanitizer.log" 2>&1 || {
  tail -50 "$here/build-$sanitizer.log" >&2
  exit 1
}

# Node itself is not instrumented, so the sanitizer's library has to come first; what V8 leaks at its
# end is its own affair. A thread sanitizer sees none of Node's locks but those of the C library.
prebuild=$scratch/prebuild
mkdir -p "$prebuild" && ln -s "$PWD/$here/build-$sanitizer" "$prebuild/build"
export MAGICMIX_PREBUILD=$prebuild
export ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1:exitcode=99
export TSAN_OPTIONS=exitcode=99:halt_on_error=0:suppressions=$PWD/$here/tsan.txt
library=$(gcc -print-file-name="lib$([ "$sanitizer" = address ] && echo asan || echo tsan).so")
LD_PRELOAD=$library setarch -R node --expose-gc "$here/program.mjs" "$model" "$scratch" "$mixes"
