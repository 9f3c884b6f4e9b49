//! The object store as blocks: layout, order of upload, manifests, the blocks that are open for reading.
//!
//! ```text
//! <ULID>/{chunks/NNNNNN, index, tombstones, meta.json}     a block; meta.json is written last and removed first
//! closed/<cluster>/<group>/<start of the range in ms>.json  the manifest of a closed range, created once
//! ```
//!
//! Only this crate knows keys of objects. It does not decide what is cut, closed or deleted, and reads no clock.

mod blocks;
#[doc(hidden)]
pub mod fuzzing;
mod manifest;
mod store;

pub use blocks::Blocks;
pub use manifest::{Created, Manifest, ManifestBlock};
pub use store::{Bucket, Error};
