#!/usr/bin/env bash
# Makes a folder with a small Debian 13 in it, unless it is there: debian-13.sh FOLDER. From it come the
# headers of Vulkan 1.4, with which the backend is built, and Mesa 25, whose software renderer runs
# the tests; that of Debian 12 damages its own heap. Needs root and mmdebstrap.
set -euo pipefail

root=$1
if [ -e "$root/usr/include/vulkan/vulkan.h" ]; then exit 0; fi
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Codename: bookworm' 'Created-By: Packages' | head -n 1)
mmdebstrap --quiet --variant=essential --include=nodejs,mesa-vulkan-drivers,libvulkan-dev,libstdc++6 \
  trixie "$root" "$mirror"
