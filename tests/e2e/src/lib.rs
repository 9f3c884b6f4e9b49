//! What the end-to-end tests start and speak to: the binary `narthex` and its peers as child processes, remote write and
//! the query API over loopback. It links no crate of Narthex: to these tests Narthex is a binary with Prometheus' interface.

pub mod api;
pub mod cluster;
pub mod compare;
pub mod histogram;
pub mod narthex;
pub mod peer;
pub mod process;
pub mod random;
pub mod wait;
pub mod write;

pub use benches::http::{Client, Response, percent};
pub use benches::machine::{now_ms, variable};
