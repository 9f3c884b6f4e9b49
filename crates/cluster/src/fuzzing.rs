//! Entry points for fuzzers: bytes that others wrote.

use crate::{ClusterMap, Command, State};

/// Reads a command; one that can be read is written back as the same bytes, and is applied without a panic.
#[doc(hidden)]
pub fn fuzz_command(bytes: &[u8]) {
    let Ok(command) = Command::decode(bytes) else { return };
    assert_eq!(command.encode(), bytes, "a command has one encoding");
    State::default().apply(1, &command);
}

/// Reads a snapshot; one that can be read is written back as the same bytes.
#[doc(hidden)]
pub fn fuzz_snapshot(bytes: &[u8]) {
    if let Ok(map) = ClusterMap::decode(bytes) {
        assert_eq!(map.encode(), bytes, "a map has one encoding");
    }
    let Ok(state) = State::decode(bytes) else { return };
    assert_eq!(state.encode(), bytes, "a state has one encoding");
}

/// Reads a group by itself; one that can be read is written back as the same bytes.
#[doc(hidden)]
pub fn fuzz_group(bytes: &[u8]) {
    let Ok(group) = crate::Group::decode(bytes) else { return };
    assert_eq!(group.encode(), bytes, "a group has one encoding");
    assert!(bytes.len() <= crate::Group::ENCODED_BYTES_MAX);
}
