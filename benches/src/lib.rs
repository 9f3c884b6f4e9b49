//! The comparison with peers: a seeded fleet of targets, what sends or serves its samples, and what starts the systems
//! under measurement and reads their cost from `/proc`. It links no crate of Narthex: to it Narthex is one more binary
//! with Prometheus' HTTP interface, measured as the peers are.

pub mod aims;
pub mod answer;
pub mod fleet;
pub mod http;
pub mod machine;
pub mod native;
pub mod page;
pub mod phases;
pub mod process;
pub mod queries;
pub mod report;
pub mod scale;
pub mod shapes;
pub mod system;
pub mod verify;
pub mod wire;
pub mod writer;
