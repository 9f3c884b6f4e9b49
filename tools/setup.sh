#!/usr/bin/env bash
# Installs what the build needs (Debian packages, no prompts) and writes .cargo/config.toml, so that a bare `cargo`, `cargo fuzz`
# and `make` build the same thing in the same folder. Quick when nothing is to be done.
set -euo pipefail
cd "$(dirname "$0")/.."

packages=()
need() { dpkg-query -W -f='${Status}' "$1" 2>/dev/null | grep -q 'install ok installed' || packages+=("$1"); }
need gcc
need libc6-dev
need make
need librocksdb-dev # RocksDB from source takes ten minutes
need libclang-dev   # bindgen, for RocksDB's header
need mold           # links in a fifth of the time

if [ ${#packages[@]} -gt 0 ]; then
  sudo=""
  if [ "$(id -u)" -ne 0 ]; then sudo="sudo"; fi
  echo "installing Debian packages: ${packages[*]}"
  if ! apt-cache show "${packages[0]}" >/dev/null 2>&1; then $sudo apt-get update -qq; fi
  DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null ||
    { $sudo apt-get update -qq && DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null; }
fi

lib="/usr/lib/$(gcc -print-multiarch)"
target="${XDG_CACHE_HOME:-$HOME/.cache}/narthex-target"
mkdir -p .cargo "$target"
config="$(
  cat <<TOML
# Written by tools/setup.sh; not in git.
[build]
target-dir = "$target"
TOML
  if [ -e "$lib/librocksdb.so" ]; then
    cat <<TOML
[env]
ROCKSDB_LIB_DIR = "$lib"
ROCKSDB_INCLUDE_DIR = "/usr/include"
TOML
  fi
  if command -v mold >/dev/null; then
    cat <<TOML
[target.'cfg(target_os = "linux")']
rustflags = ["-C", "link-arg=-fuse-ld=mold"]
TOML
  fi
)"
# Untouched when equal: cargo builds anew when it changes.
if [ "$(cat .cargo/config.toml 2>/dev/null)" != "$config" ]; then echo "$config" >.cargo/config.toml; fi
