//! The batch: what writers send, replicas log, and peers pull. One layout for wire and log.
//!
//! Fixed integers are little-endian; `uvarint` is LEB128, `varint` the same of a zigzag number.
//!
//! ```text
//! batch   = version u8 (2) · group u32 · generation u64 · writer u64 · seq u64 · base timestamp i64
//!           · tenant_len u8 · tenant · section_count uvarint · section*
//! section = partition uvarint, greater than the one before · columns u8, a bit per kind from the lowest on
//!           · (byte_len uvarint · column) for each bit that is set
//!   0 definitions  (id u128 · labels_len u32 · packed labels)*
//!   1 floats       run_count uvarint · samples beyond one per run uvarint · id u128 * runs
//!                  · samples per run uvarint * runs, only where there are samples beyond one per run
//!                  · timestamps · value f64 * samples
//!   2 histograms   (id u128 · timestamp i64 · hint u8 · schema varint · zero width f64 · zero count uvarint · count uvarint
//!                  · sum f64 · positive spans · negative spans · bucket (varint of the difference to the one before) as many as
//!                  the spans name · bound count uvarint · bound f64 *)*
//!   3 float histograms   likewise, but zero count, count and buckets (absolute) are f64
//!   4 exemplars    (id u128 · timestamp i64 · value f64 · labels_len u32 · packed labels)*
//!   5 metadata     (type u8 · name, help, unit: u32 length and bytes each)*
//! timestamps = varint of the difference to the one before, to the base timestamp at first; behind a difference of 0 a uvarint
//!              that says how many more samples have the same timestamp
//! spans      = count uvarint · (offset varint · length uvarint)*
//! ```
//!
//! A batch is taken whole or not at all: [`Batch::parse`] checks everything that applying it relies on, and an unknown version or
//! kind refuses it. It belongs to one tenant, and has each partition once. In the steady state a sample takes 24 bytes, and a
//! section 8 where its samples have one timestamp. Version 1 named the tenant in each section; there was no release with it, so it
//! is refused like any other number. No I/O, no admission, no compression.

mod build;
mod floats;
#[doc(hidden)]
pub mod fuzzing;
mod histogram;
mod join;
mod parse;
mod section;
mod varint;

pub use build::BatchBuilder;
pub use floats::FloatColumn;
pub use histogram::{HISTOGRAM_BYTES_MAX, HistogramEntry, HistogramIter, histogram_bytes_max};
pub use parse::{Batch, ParseError};
pub use section::{Column, Definition, ExemplarEntry, MetadataEntry, Section, Sections};

use model::TenantId;

/// Longest batch: bounds the memory for one message and one record of the log.
pub const BATCH_BYTES_MAX: usize = 1 << 20;

/// Most bytes before the first section.
pub(crate) const HEADER_BYTES_MAX: usize = 1 + 4 + 8 + 8 + 8 + 8 + 1 + TenantId::BYTES_MAX + 5;

/// Layout version.
pub(crate) const VERSION: u8 = 2;

/// Kinds of column: bits in a section's `columns`, and the order in which columns come.
pub(crate) mod kind {
    pub(crate) const DEFINITIONS: u8 = 0;
    pub(crate) const FLOATS: u8 = 1;
    pub(crate) const HISTOGRAMS: u8 = 2;
    pub(crate) const FLOAT_HISTOGRAMS: u8 = 3;
    pub(crate) const EXEMPLARS: u8 = 4;
    pub(crate) const METADATA: u8 = 5;
    /// How many there are.
    pub(crate) const COUNT: u8 = 6;

    /// Those of a section, in order.
    pub(crate) fn of(columns: u8) -> impl Iterator<Item = u8> {
        (0..COUNT).filter(move |kind| columns >> kind & 1 == 1)
    }
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

/// All that stands before the sections.
pub(crate) fn put_header(header: BatchHeader, tenant: &TenantId, base: i64, section_count: usize, out: &mut Vec<u8>) {
    let tenant = tenant.as_str();
    out.push(VERSION);
    out.extend_from_slice(&header.group.to_le_bytes());
    out.extend_from_slice(&header.generation.to_le_bytes());
    out.extend_from_slice(&header.writer.to_le_bytes());
    out.extend_from_slice(&header.seq.to_le_bytes());
    out.extend_from_slice(&base.to_le_bytes());
    out.push(u8::try_from(tenant.len()).expect("TenantId::BYTES_MAX is less than 256"));
    out.extend_from_slice(tenant.as_bytes());
    varint::put_uvarint(out, section_count as u64);
}
