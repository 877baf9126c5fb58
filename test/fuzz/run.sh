#!/usr/bin/env bash
# Fuzzes the readers of checkpoints. Usage: test/fuzz/run.sh SECONDS [FORMAT...]
# Needs clang with libFuzzer (Debian: clang, libclang-rt-14-dev), cmake and node. Everything is made in
# build/fuzz; corpora stay there, so that the next run goes on where this one ended.
set -euo pipefail
cd "$(dirname "$0")/../.."
seconds=${1:?usage: test/fuzz/run.sh SECONDS [FORMAT...]}
shift
build=build/fuzz

generator=()
if [ ! -f $build/CMakeCache.txt ] && command -v ninja >/dev/null; then generator=(-G Ninja); fi
cmake -S test/fuzz -B $build "${generator[@]}" -DCMAKE_BUILD_TYPE=None \
  -DCMAKE_C_COMPILER=clang -DCMAKE_CXX_COMPILER=clang++ >$build.log 2>&1 || { cat $build.log; exit 1; }
cmake --build $build -j2 >>$build.log 2>&1 || { tail -50 $build.log; exit 1; }
npx tsx test/fuzz/seeds.ts $build/seeds

formats=("$@")
if [ ${#formats[@]} = 0 ]; then
  for source in test/fuzz/formats/*.cpp; do formats+=("$(basename "$source" .cpp)"); done
fi

failed=()
for format in "${formats[@]}"; do
  corpus=$build/corpus/$format findings=$build/findings/$format
  mkdir -p "$corpus" "$findings"
  dictionary=()
  if [ -f "test/fuzz/dictionaries/$format.dict" ]; then
    dictionary=("-dict=test/fuzz/dictionaries/$format.dict")
  fi
  log=$build/$format.log
  echo "$format: $seconds seconds"
  # -rss_limit_mb and -malloc_limit_mb: memory must be bounded by the size of the file.
  ASAN_OPTIONS=malloc_context_size=5 UBSAN_OPTIONS=print_stacktrace=1 "$build/fuzz_$format" "$corpus" "$build/seeds/$format" \
    "${dictionary[@]}" -max_total_time="$seconds" -max_len=1048576 -timeout=10 -rss_limit_mb=2048 \
    -malloc_limit_mb=64 -artifact_prefix="$findings/" -print_final_stats=1 -close_fd_mask=1 \
    >"$log" 2>&1 || failed+=("$format")
  grep -E 'cov: ' "$log" | tail -1 || true
  grep -E 'stat::(number_of_executed_units|average_exec_per_sec|new_units_added|peak_rss_mb)' "$log" || true
  echo "findings: $(find "$findings" -type f | wc -l)"
done
if [ ${#failed[@]} -gt 0 ]; then
  for format in "${failed[@]}"; do
    echo "FAILED: $format; see $build/$format.log and $build/findings/$format"
    grep -E 'ERROR|SUMMARY|runtime error|terminate' "$build/$format.log" | head -5
  done
  exit 1
fi
