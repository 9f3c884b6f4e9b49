# Narthex. `make run` tries it, `make test` checks it, `make bench` measures it beside its peers; see README.md.
SHELL := /bin/bash
TARGET := $(if $(XDG_CACHE_HOME),$(XDG_CACHE_HOME),$(HOME)/.cache)/narthex-target

.PHONY: run setup check test just-test chaos fmt fuzz sim bench bench-check bench-check-promql bench-instructions bench-check-cluster test-compose

# Installs what the build needs, builds, and starts everything in one process with data in ./data.
run: setup
	@echo "Building Narthex; the first build takes about ten minutes on two cores."
	cargo build --release --quiet -p narthex
	@echo
	@echo "Narthex is at http://localhost:9090 (Ctrl-C stops it; data is in ./data). Try, in another terminal:"
	@echo "  curl 'localhost:9090/api/v1/query?query=up'"
	@echo "  curl 'localhost:9090/api/v1/query?query=rate(process_cpu_seconds_total%5B1m%5D)'"
	@echo "  curl 'localhost:9090/api/v1/targets'"
	@echo
	$(TARGET)/release/narthex all --config.file=deploy/config/prometheus.yml --storage.path=data --web.enable-lifecycle

setup:
	@tools/setup.sh

# Format and lints, warnings as errors.
check: setup
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --quiet -- -D warnings

test: check just-test

# The end-to-end tests run the binary, which cargo builds for the tests of its own package before any test begins.
just-test: setup
	cargo test --workspace --quiet

# All scenarios of chaos/scenarios, Debian's Prometheus and VictoriaMetrics among them; about three minutes.
chaos: setup
	tools/peers.sh prometheus victoria-metrics >/dev/null
	cargo build --quiet -p narthex -p chaos
	$(TARGET)/debug/chaos-run chaos/scenarios

fmt:
	cargo fmt --all

# How long each target is fuzzed, and which. fuzz/README.md says more; `make test` runs their corpora.
SECONDS := 60
TARGETS := $(notdir $(wildcard fuzz/corpus/*))

fuzz: setup
	@command -v cargo-fuzz >/dev/null || { echo "cargo-fuzz is missing; get it with: cargo install cargo-fuzz"; exit 1; }
	@command -v g++ >/dev/null || { echo "g++ is missing, which libFuzzer is built with; get it with: apt-get install g++"; exit 1; }
	@[ fuzz/Cargo.lock -nt Cargo.lock ] || cp Cargo.lock fuzz/Cargo.lock
	@export RUSTFLAGS="-Clink-arg=-fuse-ld=mold"; cargo fuzz build -s none && for t in $(TARGETS); do \
		echo "== $$t"; mkdir -p $(TARGET)/fuzz/$$t; \
		cargo fuzz run -s none $$t $(TARGET)/fuzz/$$t fuzz/corpus/$$t -- \
			-max_total_time=$(SECONDS) -timeout=10 -rss_limit_mb=2048 -verbosity=0 -print_final_stats=1 || exit 1; \
	done

# The replication protocol under ten thousand fresh seeds. A failure prints its seed and events; FIRST=<seed> COUNT=1 repeats it.
FIRST := $(shell date +%s)0000
COUNT := 10000
sim: setup
	cargo build --quiet -p simulation
	@echo "seeds $(FIRST) and on"
	$(TARGET)/debug/simulation $(FIRST) $(COUNT)

# Beside Debian's Prometheus and VictoriaMetrics, in one run; about an hour. benches/README.md says what is measured.
bench: setup
	tools/peers.sh prometheus victoria-metrics >/dev/null
	cargo build --release --quiet -p narthex -p benches
	$(TARGET)/release/bench --scale full

# Three runs of a smaller size; fails where the median is below an aim. About an hour.
PHASES := write1,query,restart,write10,scrape,blocks,window
bench-check: setup
	tools/peers.sh prometheus victoria-metrics >/dev/null
	cargo build --release --quiet -p narthex -p benches
	$(TARGET)/release/bench --scale medium --runs 3 --check --phases $(PHASES)

# Thirty-odd query shapes, each in three forms, over two hours of 200,000 series: in the head, and in blocks. One run, in which each
# query is timed five times. Not all of its aims are known to be met: benches/README.md.
bench-check-promql: setup
	tools/peers.sh prometheus victoria-metrics >/dev/null
	cargo build --release --quiet -p narthex -p benches
	$(TARGET)/release/bench --scale full --runs 1 --check --phases promql,promql-blocks

# Instructions of the inner loops under valgrind, against benches/instructions/kept.txt; fails where one takes a tenth more.
# KEEP=--keep writes the file. A minute or two, on a busy machine too.
KEEP :=
bench-instructions: setup
	@command -v valgrind >/dev/null || { echo "valgrind is missing; get it with: apt-get install valgrind"; exit 1; }
	cargo build --release --quiet -p instructions
	$(TARGET)/release/instructions $(KEEP)

# The same of a cluster of processes beside one process. Not all of its aims are met: benches/README.md.
bench-check-cluster:
	$(MAKE) bench-check PHASES=cluster,cluster500,cluster12


# The cluster of deploy/compose under docker-compose, with containers killed; as root. deploy/compose/README.md says more.
test-compose: setup
	cargo build --release --quiet -p narthex -p chaos
	tools/test-compose.sh $(TARGET)/release/narthex $(TARGET)/release/chaos-ledger
