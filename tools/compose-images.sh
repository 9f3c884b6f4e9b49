#!/usr/bin/env bash
# Builds the images of deploy/compose where none can be pulled: a base image out of Debian packages (debootstrap, as root), and
# over it deploy/Dockerfile with a binary that is already built.
#
#   tools/compose-images.sh PATH-TO-NARTHEX
set -euo pipefail
cd "$(dirname "$0")/.."
binary=$(realpath "$1")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if ! docker image inspect narthex-base >/dev/null 2>&1; then
  command -v debootstrap >/dev/null || DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends debootstrap >/dev/null
  echo "building narthex-base out of Debian packages"
  debootstrap --variant=minbase --include=ca-certificates,curl,librocksdb7.8,python3,prometheus-node-exporter \
    bookworm "$work/root" >"$work/log" || { tail -n 20 "$work/log"; exit 1; }
  # The applications as the tests have them: `tools/peers.sh` keeps a venv of each.
  eval "$(tools/peers.sh --require fastapi moto)"
  mkdir -p "$work/root/venv/bin"
  ln -s /usr/bin/python3 "$work/root/venv/bin/python"
  printf 'home = /usr/bin\ninclude-system-site-packages = false\nversion = 3.11\n' >"$work/root/venv/pyvenv.cfg"
  for program in "$NARTHEX_PEER_FASTAPI_PYTHON" "$NARTHEX_PEER_MOTO_SERVER"; do
    cp -r "$(dirname "$(dirname "$program")")/lib" "$work/root/venv/"
  done
  rm -rf "$work/root/var/cache/apt/archives" "$work/root/var/lib/apt/lists"
  mkdir -p "$work/root/var/cache/apt/archives/partial" "$work/root/var/lib/apt/lists/partial"
  tar -C "$work/root" -c . | docker import - narthex-base >/dev/null
  rm -rf "$work/root"
fi

mkdir -p "$work/binary"
cp "$binary" "$work/binary/narthex"
tar -C "$work/binary" -c narthex | docker import - narthex-binary >/dev/null
# Only what the last stages copy: sending the whole checkout to the daemon takes longer than building.
mkdir -p "$work/context/deploy"
cp -r deploy/sample "$work/context/deploy/"
build() { docker build -q -f deploy/Dockerfile --build-arg BASE=narthex-base --build-arg RUST=narthex-base --build-arg BINARY=narthex-binary "$@" "$work/context"; }
build -t narthex-sample --target sample
build -t narthex
