#!/usr/bin/env bash
# Unpacks, never installs, the programs that tests and benchmarks compare Narthex with, under
# ${XDG_CACHE_HOME:-$HOME/.cache}/narthex-peers: Debian packages by `apt-get download` and `dpkg -x`, Python packages in
# one venv per peer. Any user can run it; root is only asked for where apt has no package lists yet.
#
#   tools/peers.sh              fetch what is missing; a comment line per peer, then the variables
#   tools/peers.sh --require    the same, but exits 1 if a peer cannot be had
#   tools/peers.sh --env        only the variables of the peers that are there; fetches nothing
#   tools/peers.sh [...] NAME…  only these peers
#
# Standard output is shell in every mode: eval "$(tools/peers.sh)", or env $(tools/peers.sh --env) COMMAND.
set -u -o pipefail

cache=${XDG_CACHE_HOME:-$HOME/.cache}/narthex-peers
# Part of every stamp: raise it when what a peer's folder holds changes, and each is fetched anew.
recipe=1
all="prometheus alertmanager node-exporter pushgateway blackbox-exporter victoria-metrics fastapi moto"

# What a peer is: "deb PACKAGE" or "pip REQUIREMENT…". Python versions are fixed so that a run next year compares the same.
source_of() {
  case $1 in
    prometheus) echo deb prometheus ;;
    victoria-metrics) echo deb victoria-metrics ;;
    alertmanager | node-exporter | pushgateway | blackbox-exporter) echo deb "prometheus-$1" ;;
    fastapi) echo pip prometheus-fastapi-instrumentator==7.1.0 fastapi==0.115.14 uvicorn==0.35.0 ;;
    moto) echo pip 'moto[server]==5.1.9' ;;
    *) return 1 ;;
  esac
}

# The variables a peer gives: VARIABLE=path within its folder.
variables_of() {
  case $1 in
    prometheus) echo PROMETHEUS=usr/bin/prometheus PROMTOOL=usr/bin/promtool ;;
    alertmanager) echo ALERTMANAGER=usr/bin/prometheus-alertmanager AMTOOL=usr/bin/amtool ;;
    node-exporter) echo NODE_EXPORTER=usr/bin/prometheus-node-exporter ;;
    pushgateway) echo PUSHGATEWAY=usr/bin/prometheus-pushgateway ;;
    blackbox-exporter) echo BLACKBOX_EXPORTER=usr/bin/prometheus-blackbox-exporter ;;
    victoria-metrics) echo VICTORIA_METRICS=usr/bin/victoria-metrics ;;
    fastapi) echo FASTAPI_PYTHON=bin/python ;;
    moto) echo MOTO_SERVER=bin/moto_server ;;
  esac
}

# Complete means: the stamp is of this recipe and every file it promises is still there. The stamp is written last.
complete() {
  local stamped="" pair
  [ -r "$cache/$1.stamp" ] && read -r stamped <"$cache/$1.stamp"
  [ "$stamped" = "recipe $recipe $(source_of "$1")" ] || return 1
  for pair in $(variables_of "$1"); do
    [ -x "$cache/$1/${pair#*=}" ] || return 1
  done
}

print_variables() {
  local pair
  for pair in $(variables_of "$1"); do
    printf 'NARTHEX_PEER_%s=%q\n' "${pair%%=*}" "$cache/$1/${pair#*=}"
  done
}

# Fails with the last telling line of $log.
because() {
  grep -E '^(E:|ERROR|Error|error)' "$log" | tail -n 1 | cut -c 1-300 >"$log.reason"
  [ -s "$log.reason" ] || tail -n 1 "$log" | cut -c 1-300 >"$log.reason"
  return 1
}

download() {
  # The sandbox user cannot write into a private folder; apt would only warn, but warns at length.
  (cd "$work" && timeout 300 apt-get -q -o Acquire::Retries=2 -o APT::Sandbox::User="$(id -un)" download "$@") >>"$log" 2>&1
}

# Package lists are refreshed once per run, and only after a download failed: they are missing or older than the mirror.
refreshed=no
refresh_lists() {
  [ "$refreshed" = no ] && [ "$(id -u)" = 0 ] || return 1
  refreshed=yes
  timeout 300 apt-get -q update >>"$log" 2>&1
}

# The packages that package $1 depends on, first alternatives only, without versions.
depends_of() {
  dpkg-deb -f "$1" Pre-Depends Depends | sed 's/^[A-Za-z-]*: //' | tr ',' '\n' |
    sed 's/|.*//; s/(.*)//; s/:any//; s/[[:space:]]//g' | grep -E '^lib'
}

# A binary that lacks shared libraries gets them from its dependencies, unpacked beside it, and a wrapper that execs it,
# so that the process keeps its id and the machine stays as it was.
supply_libraries() {
  local deb=$1 root=$2 pair binary path missing=no
  for pair in $(variables_of "$peer"); do
    ldd "$root/${pair#*=}" 2>/dev/null | grep -q 'not found' && missing=yes
  done
  [ "$missing" = yes ] || return 0
  mapfile -t libraries < <(depends_of "$deb")
  [ "${#libraries[@]}" -gt 0 ] && download "${libraries[@]}" || return 1
  for path in "$work"/lib*.deb; do dpkg -x "$path" "$root" || return 1; done
  for pair in $(variables_of "$peer"); do
    binary=${pair#*=}
    mv "$root/$binary" "$root/$binary.unwrapped" || return 1
    cat >"$root/$binary" <<'WRAPPER'
#!/bin/sh
root=$(cd "$(dirname "$0")/../.." && pwd)
libraries=$(find "$root/usr/lib" "$root/lib" -name '*.so*' -exec dirname {} + 2>/dev/null | sort -u | tr '\n' ':')
LD_LIBRARY_PATH=$libraries${LD_LIBRARY_PATH:-} exec "$0.unwrapped" "$@"
WRAPPER
    chmod +x "$root/$binary" || return 1
  done
}

fetch_deb() {
  local package=$1 deb
  command -v apt-get dpkg >>"$log" 2>&1 || { echo "error: apt-get and dpkg are not on this machine" >>"$log"; because; return 1; }
  download "$package" || { refresh_lists && download "$package"; } || { because; return 1; }
  deb=$(echo "$work/$package"_*.deb)
  mkdir "$work/root" && dpkg -x "$deb" "$work/root" >>"$log" 2>&1 && supply_libraries "$deb" "$work/root" || { because; return 1; }
  rm -rf "${cache:?}/$peer" && mv "$work/root" "$cache/$peer" || { because; return 1; }
  version=$(dpkg-deb -f "$deb" Version)
}

fetch_pip() {
  # A venv holds absolute paths, so it is made in place; until the stamp is there nobody reads it.
  rm -rf "${cache:?}/$peer" &&
    python3 -m venv "$cache/$peer" >>"$log" 2>&1 &&
    timeout 900 "$cache/$peer/bin/python" -m pip install --quiet --no-input "$@" >>"$log" 2>&1 || { because; return 1; }
  version=$*
}

fetch() {
  local kind rest
  peer=$1
  work=$(mktemp -d "$cache/work.XXXXXX") || return 1
  log=$cache/$peer.log
  : >"$log"
  read -r kind rest < <(source_of "$peer")
  # shellcheck disable=SC2086  # the requirements are words
  "fetch_$kind" $rest && printf 'recipe %s %s\n%s\n' "$recipe" "$(source_of "$peer")" "$version" >"$work/stamp" &&
    mv "$work/stamp" "$cache/$peer.stamp" && complete "$peer"
  local status=$?
  rm -rf "$work"
  return $status
}

only_env=no
require=no
names=""
for argument in "$@"; do
  case $argument in
    --env) only_env=yes ;;
    --require) require=yes ;;
    -*) echo "peers.sh: unknown option $argument" >&2; exit 2 ;;
    *) source_of "$argument" >/dev/null || { echo "peers.sh: unknown peer $argument (have: $all)" >&2; exit 2; }
      names="$names $argument" ;;
  esac
done
names=${names:-$all}

lacking=0
if [ "$only_env" = no ]; then
  mkdir -p "$cache" || exit 1
  # What a killed run left behind.
  find "$cache" -maxdepth 1 -name "work.*" -mmin +1440 -exec rm -rf {} +
  for name in $names; do
    if ! complete "$name"; then
      # One fetches, a second run waits and then finds it complete. Taken per peer, so that two runs share the work.
      exec 9>"$cache/$name.lock"
      flock 9 || exit 1
      if ! complete "$name"; then
        rm -f "$cache/$name.stamp" "$cache/$name.log.reason"
        fetch "$name"
      fi
      exec 9>&-
    fi
    if complete "$name"; then
      echo "# $name: $(sed -n 2p "$cache/$name.stamp")"
    else
      lacking=$((lacking + 1))
      echo "# $name: not to be had: $(cat "$cache/$name.log.reason" 2>/dev/null || echo "see $cache/$name.log")"
    fi
  done
fi
for name in $names; do
  if complete "$name"; then print_variables "$name"; elif [ "$only_env" = yes ]; then lacking=$((lacking + 1)); fi
done
[ "$require" = no ] || [ "$lacking" = 0 ]
