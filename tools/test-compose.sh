#!/usr/bin/env bash
# `make test-compose`: brings the cluster of deploy/compose up by Debian's docker-compose, writes to it, kills one container of
# each role in turn, and checks with the ledger that nothing acknowledged was lost. Needs root; starts dockerd where none runs.
#
#   tools/test-compose.sh PATH-TO-NARTHEX PATH-TO-CHAOS-LEDGER
set -euo pipefail
cd "$(dirname "$0")/.."
binary=$1 ledger=$(realpath "$2")
work=$(mktemp -d)
compose() { docker-compose -p narthex-test -f deploy/compose/docker-compose.yml "$@"; }
say() { printf '[%4d s] %s\n' "$SECONDS" "$*"; }

packages=()
command -v dockerd >/dev/null || packages+=(docker.io)
command -v docker-compose >/dev/null || packages+=(docker-compose)
if [ ${#packages[@]} -gt 0 ]; then
  say "installing ${packages[*]}"
  # Nothing is to be started but by us.
  policy=/usr/sbin/policy-rc.d ours=""
  [ -e $policy ] || { printf '#!/bin/sh\nexit 101\n' >$policy && chmod +x $policy && ours=yes; }
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
  [ -z "$ours" ] || rm -f $policy
fi
daemon=""
if ! docker info >/dev/null 2>&1; then
  dockerd >"$work/dockerd.log" 2>&1 &
  daemon=$!
  for _ in $(seq 60); do docker info >/dev/null 2>&1 && break; sleep 1; done
  docker info >/dev/null || { tail -n 20 "$work/dockerd.log"; exit 1; }
fi
finish() {
  status=$?
  [ $status = 0 ] || compose logs --tail=30 2>&1 | tail -n 300 || true
  compose down -v -t 20 >/dev/null 2>&1 || true
  [ -z "$daemon" ] || { kill "$daemon"; wait "$daemon" || true; }
  rm -rf "$work"
  exit $status
}
trap finish EXIT

# Waits up to two minutes for a command to succeed.
until_ok() {
  local what=$1; shift
  for _ in $(seq 120); do "$@" >/dev/null 2>&1 && { say "$what"; return; }; sleep 1; done
  say "$what: not within two minutes"; "$@"; return 1
}
ask() { curl -fsS -G "localhost:9090/api/v1/query" --data-urlencode "query=$1"; }
holds() { ask "$1" | grep -q '"value":\['; }

say "images"
tools/compose-images.sh "$binary" >/dev/null
compose up -d >/dev/null 2>&1
until_ok "the first querier is ready" curl -fsS localhost:9090/-/ready
until_ok "the second querier is ready" curl -fsS localhost:9091/-/ready
until_ok "node_exporter is scraped" holds 'up{job="node"} == 1'
until_ok "the sample application is scraped" holds 'up{job="sample"} == 1'
until_ok "all nodes are scraped" holds 'count(up{job="narthex"} == 1) == 13'

say "load through the front doors"
"$ledger" write --url localhost:9090 --url localhost:9091 --folder "$work/ledger" --for-s 3600 --retry-for-s 300 --timeout-ms 15000 >"$work/load.log" 2>&1 &
load=$!
sleep 5
for container in ingester-1 ruler-1 distributor-1 store-1 querier-2 scraper-1 ingester-2 ruler-2; do
  say "kill $container"
  docker kill "$(compose ps -q $container)" >/dev/null
  sleep 8
  compose up -d "$container" >/dev/null 2>&1
  until_ok "$container is back" sh -c "docker inspect -f '{{.State.Health.Status}}' \$(docker-compose -p narthex-test -f deploy/compose/docker-compose.yml ps -q $container) | grep -qx healthy"
done
sleep 5
touch "$work/ledger/stop"
wait "$load"
tail -n 1 "$work/load.log"
"$ledger" reconcile --url localhost:9090 --folder "$work/ledger"
until_ok "all nodes are scraped again" holds 'count(up{job="narthex"} == 1) == 13'
say "holds"
