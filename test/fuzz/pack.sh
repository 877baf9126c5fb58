#!/usr/bin/env bash
# Takes over what runs have found: of build/fuzz/corpus and the seeds the fewest inputs with the same
# coverage become test/fuzz/corpus/FORMAT.tar.gz. Usage: test/fuzz/pack.sh [FORMAT...], after run.sh.
set -euo pipefail
cd "$(dirname "$0")/../.."
build=build/fuzz

formats=("$@")
if [ ${#formats[@]} = 0 ]; then
  for source in test/fuzz/formats/*.cpp; do formats+=("$(basename "$source" .cpp)"); done
fi

mkdir -p test/fuzz/corpus
for format in "${formats[@]}"; do
  minimal=$build/minimal/$format
  rm -rf "$minimal"
  mkdir -p "$minimal"
  # Seeds are made anew by every run: only what they do not reach is kept.
  known=$build/minimal/$format-seeds
  rm -rf "$known"
  cp -r "$build/seeds/$format" "$known"
  before=$(find "$known" -type f | wc -l)
  cp -r "$known/." "$minimal"
  "$build/fuzz_$format" -merge=1 -max_len=1048576 -rss_limit_mb=2048 -close_fd_mask=1 "$minimal" \
    "$build/corpus/$format" >"$build/$format-merge.log" 2>&1
  for seed in "$known"/*; do rm "$minimal/$(basename "$seed")"; done
  find "$minimal" -type f -size +64k -delete
  # The same inputs are the same file, to the byte.
  tar --sort=name --owner=0 --group=0 --numeric-owner --mode=644 --mtime=@0 -C "$minimal" -cf - -T <(ls "$minimal") |
    gzip -9n >"test/fuzz/corpus/$format.tar.gz"
  echo "$format: $(find "$minimal" -type f | wc -l) inputs beside $before seeds," \
    "$(stat -c %s "test/fuzz/corpus/$format.tar.gz") bytes"
done
