#!/usr/bin/env bash
# Runs load, mix, abort, convert and dispose under valgrind, on the CPU and on a fake GPU. Fails on every error that has a frame of ours in
# its stack; those of Node and V8 alone are not counted. Valgrind knows no AVX-512, so the addon is
# built a second time, for any x86-64 processor and with debug information.
set -euo pipefail
cd "$(dirname "$0")/../.."

if ! command -v valgrind >/dev/null; then
  echo "valgrind is not installed: apt install valgrind" >&2
  exit 1
fi

here=test/valgrind
report=$here/build/report
flags="-O2 -g -DNDEBUG"
npx cmake-js compile --out "$here/build" --CDMAGICMIX_CPU_VARIANTS=OFF --CDMAGICMIX_PROGRAMS=OFF \
  "--CDCMAKE_CXX_FLAGS_RELEASE=$flags" "--CDCMAKE_C_FLAGS_RELEASE=$flags" >"$here/build.log" 2>&1 &&
  cmake --build "$here/build" --target fake_vulkan >>"$here/build.log" 2>&1 || {
  cat "$here/build.log" >&2
  exit 1
}

model=$(npx tsx -e "require('./test/support/models.ts').tinyModel().then((it) => console.log(it))")

# node-gyp-build looks for the addon in the folder that MAGICMIX_PREBUILD names. V8 without its
# just-in-time compilers is slower, but valgrind has less to translate.
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export MAGICMIX_BACKENDS=$here/build/fake-vulkan VK_DRIVER_FILES=$here/build/fake-vulkan
export MAGICMIX_CACHE=$scratch/cache FAKE_GPU_LACKS=GROUP_NORM

# Valgrind uses one core; the program's halves run beside each other.
watched=()
for half in sweep gpu; do
  MAGICMIX_PREBUILD=$PWD/$here valgrind --quiet --xml=yes --xml-file="$report-$half.xml" \
    --leak-check=full --show-leak-kinds=definite --num-callers=40 --smc-check=all-non-file \
    node --expose-gc --jitless --single-threaded "$here/program.mjs" "$model" "$scratch" "$half" &
  watched+=($!)
done
status=0
for pid in "${watched[@]}"; do wait "$pid" || status=1; done
for half in sweep gpu; do node "$here/judge.mjs" "$report-$half.xml" || status=1; done
exit "$status"
