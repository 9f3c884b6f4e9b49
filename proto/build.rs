//! Generates the messages and services out of `narthex/v1/*.proto`, without an installed `protoc`.

use std::error::Error;

/// Every file of the protocol.
const FILES: [&str; 8] = [
    "narthex/v1/frame.proto",
    "narthex/v1/raft.proto",
    "narthex/v1/control_plane.proto",
    "narthex/v1/cluster_map.proto",
    "narthex/v1/peer.proto",
    "narthex/v1/ingester.proto",
    "narthex/v1/store.proto",
    "narthex/v1/scraper.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    FILES.iter().for_each(|file| println!("cargo:rerun-if-changed={file}"));
    let descriptors = protox::compile(FILES, ["."])?;
    tonic_prost_build::configure().bytes(".").build_transport(false).compile_fds(descriptors)?;
    Ok(())
}
