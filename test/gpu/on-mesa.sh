#!/usr/bin/env bash
# Runs the golden tests on Mesa's software renderer in the Debian that debian-13.sh made:
# on-mesa.sh FOLDER.
# The checkout has to be built with Vulkan.
set -euo pipefail
cd "$(dirname "$0")/../.."

root=$(realpath "$1")
checkout=$PWD
trap 'umount "$root/proc" "$root/dev" "$root$checkout" 2>/dev/null || true' EXIT
mkdir -p "$root$checkout"
mount --bind "$checkout" "$root$checkout"
mount --bind /proc "$root/proc"
mount --bind /dev "$root/dev"

golden() {
  chroot "$root" env HOME=/tmp GGML_VK_VISIBLE_DEVICES=0 "$@" sh -c \
    "cd '$checkout' && exec node node_modules/mocha/bin/mocha.js --config .mocharc.gpu.json"
}
status=0
golden GGML_VK_DISABLE_F16=1 || status=1
golden MAGICMIX_TEST_ONE_IN=4 || status=1
exit "$status"
