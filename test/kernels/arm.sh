#!/usr/bin/env bash
# Checks the NEON kernels on another machine than ARM. Needs a cross compiler and an emulator:
# apt install g++-aarch64-linux-gnu qemu-user
set -euo pipefail
cd "$(dirname "$0")/../.."
program=$(mktemp)
trap 'rm -f "$program"' EXIT
aarch64-linux-gnu-g++ -std=c++17 -O2 -static -Wall -Wextra -Wpedantic -Wshadow -Werror -Icpp \
  test/kernels/check.cpp cpp/kernels/{kernels,neon,portable}.cpp -o "$program"
qemu-aarch64 "$program" "$@"
