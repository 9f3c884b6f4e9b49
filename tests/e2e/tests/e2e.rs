//! End-to-end tests: the binary, its peers, and what must hold between them. Each test starts what it needs in a folder of
//! its own, on ports that are free, waits for conditions and never for time, and prints its seed.
//!
//! - `NARTHEX_BIN`: the binary under test; else the one that `cargo test --workspace` built beside this test.
//! - `NARTHEX_PEER_*`: a peer; else what `tools/peers.sh` unpacked. With `CI=true` a test without its peer fails.
//! - `NARTHEX_PROMETHEUS`: the Prometheus to compare with instead of Debian's 2.42. With a 3 also at the edges of windows, by
//!   what came after 2.42, and by what is said of requests that are wrong.
//! - `NARTHEX_FULL=1`: the memory of a query over 200,000 series instead of 50,000; ten thousand random expressions instead of one.
//! - `NARTHEX_SEED`: the seed that a failed test printed.

mod active;
mod agree;
mod bad;
mod cluster_faults;
mod cluster_scrapers;
mod cluster_tls;
mod cluster_voters;
mod differential;
mod errors;
mod exporters;
mod history;
mod kill;
mod memory;
mod native;
mod object_store;
mod restart;
mod scrape;
mod web;
