# Narthex. `make run` tries it, `make test` checks it; see README.md.
.PHONY: check test fmt
check:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --quiet -- -D warnings
test: check
	cargo test --workspace --quiet
