//! The batch: what writers send, replicas log, and peers pull. One layout for wire and log.
//!
//! All integers are little-endian.
//!
//! ```text
//! batch   = version u8 (1) · group u32 · generation u64 · writer u64 · seq u64 · section_count u32 · section*
//! section = tenant_len u8 · tenant · partition u32 · column_count u8 · column*
//! column  = kind u8 · byte_len u32 · bytes
//!   1 definitions  (id u128 · labels_len u32 · packed labels)*
//!   2 floats       run_count u32 · sample_count u32 · id u128 * runs · samples per run uvarint * runs
//!                  · timestamp (zigzag varint of the difference to the one before) * samples · value f64 * samples
//!   3 exemplars    (id u128 · timestamp i64 · value f64 · labels_len u32 · packed labels)*
//!   4 metadata     (type u8 · name, help, unit: u32 length and bytes each)*
//! ```
//!
//! A batch is taken whole or not at all: [`Batch::parse`] checks everything that applying it relies on, and an unknown version or
//! kind refuses it. In the steady state a sample takes 26 bytes. No I/O, no admission, no compression.

mod build;
#[doc(hidden)]
pub mod fuzzing;
mod parse;
mod varint;

pub use build::BatchBuilder;
pub use parse::{Batch, Column, Definition, ExemplarEntry, FloatColumn, MetadataEntry, ParseError, Section};

/// Longest batch: bounds the memory for one message and one record of the log.
pub const BATCH_BYTES_MAX: usize = 1 << 20;

/// Bytes before the first section.
pub(crate) const HEADER_BYTES: usize = 1 + 4 + 8 + 8 + 8 + 4;

/// Layout version.
pub(crate) const VERSION: u8 = 1;

/// Kinds of column.
pub(crate) mod kind {
    pub(crate) const DEFINITIONS: u8 = 1;
    pub(crate) const FLOATS: u8 = 2;
    pub(crate) const EXEMPLARS: u8 = 3;
    pub(crate) const METADATA: u8 = 4;
}

/// Where a batch comes from and what it is meant for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// The group of replicas.
    pub group: u32,
    /// The generation of the group that the writer knew.
    pub generation: u64,
    /// A writer process: random, drawn at its start.
    pub writer: u64,
    /// The writer's number for this batch in this group.
    pub seq: u64,
}
