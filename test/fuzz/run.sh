#!/usr/bin/env bash
# Fuzzes the readers of checkpoints. Usage: test/fuzz/run.sh SECONDS|runs=N [FORMAT...]
# Needs clang with libFuzzer (Debian: clang, libclang-rt-14-dev), cmake and node. Everything is made in
# build/fuzz. A run begins with the corpus of this folder, the seeds, and what earlier runs found.
set -euo pipefail
cd "$(dirname "$0")/../.."
amount=${1:?usage: test/fuzz/run.sh SECONDS|runs=N [FORMAT...]}
shift
timeout=${FUZZ_TIMEOUT:-10}
build=build/fuzz

# Small inputs are many a second; the rest of the time, or one run in a hundred, goes to large ones.
case $amount in
  runs=*) shares=("4096 -runs=${amount#runs=}" "1048576 -runs=$((${amount#runs=} / 100))") ;;
  *) shares=("4096 -max_total_time=$(((amount + 1) / 2))" "1048576 -max_total_time=$(((amount + 1) / 2))") ;;
esac

generator=()
if [ ! -f $build/CMakeCache.txt ] && command -v ninja >/dev/null; then generator=(-G Ninja); fi
mkdir -p $build
cmake -S test/fuzz -B $build "${generator[@]}" -DCMAKE_BUILD_TYPE=None \
  -DCMAKE_C_COMPILER=clang -DCMAKE_CXX_COMPILER=clang++ >$build.log 2>&1 || { cat $build.log; exit 1; }
cmake --build $build -j2 >>$build.log 2>&1 || { tail -50 $build.log; exit 1; }
npx tsx test/fuzz/seeds.ts $build/seeds

formats=("$@")
if [ ${#formats[@]} = 0 ]; then
  for source in test/fuzz/formats/*.cpp; do formats+=("$(basename "$source" .cpp)"); done
fi

# A small quarantine: what an input freed is still watched while it runs, the peak of memory says
# something about the readers, and the processor's caches hold it. Shadow memory of graphs, 2 MB each,
# is set and not mapped anew: a tenth of the time of `networks`.
export ASAN_OPTIONS=malloc_context_size=5:quarantine_size_mb=2:thread_local_quarantine_size_kb=256
ASAN_OPTIONS+=:clear_shadow_mmap_threshold=100000000
export UBSAN_OPTIONS=print_stacktrace=1

failed=()
for format in "${formats[@]}"; do
  corpus=$build/corpus/$format findings=$build/findings/$format
  mkdir -p "$corpus" "$findings"
  kept=test/fuzz/corpus/$format.tar.gz
  if [ -f "$kept" ]; then tar -xzf "$kept" -C "$corpus"; fi
  dictionary=()
  if [ -f "test/fuzz/dictionaries/$format.dict" ]; then
    dictionary=("-dict=test/fuzz/dictionaries/$format.dict")
  fi
  for share in "${shares[@]}"; do
    read -r length limit <<<"$share"
    grow=() # by default inputs become longer step by step, and would stay far below 1 MB
    if [ "$length" = 1048576 ]; then grow=(-len_control=0); fi
    log=$build/$format-$length.log
    echo "$format: inputs of at most $length bytes, $limit"
    # -rss_limit_mb and -malloc_limit_mb: memory must be bounded by the size of the file.
    "$build/fuzz_$format" "$corpus" "$build/seeds/$format" "${dictionary[@]}" "$limit" "-max_len=$length" "${grow[@]}" \
      -timeout="$timeout" -report_slow_units="$timeout" -rss_limit_mb=2048 -malloc_limit_mb=64 -artifact_prefix="$findings/" \
      -print_final_stats=1 -close_fd_mask=1 >"$log" 2>&1 || failed+=("$format-$length")
    grep -E 'cov: ' "$log" | tail -1 || true
    grep -E 'stat::(number_of_executed_units|average_exec_per_sec|new_units_added|peak_rss_mb)' "$log" || true
  done
  echo "findings: $(find "$findings" -type f | wc -l)"
done
if [ ${#failed[@]} -gt 0 ]; then
  for run in "${failed[@]}"; do
    echo "FAILED: $run; see $build/$run.log and $build/findings/${run%-*}"
    grep -E 'ERROR|SUMMARY|runtime error|terminate' "$build/$run.log" | head -5
  done
  exit 1
fi
