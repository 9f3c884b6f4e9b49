//! The object store as blocks: layout, order of upload, manifests, the blocks that are open for reading.
//!
//! ```text
//! <ULID>/{chunks/NNNNNN, index, tombstones, meta.json}     a block; meta.json is written last and removed first
//! closed/<cluster>/<group>/<start of the range in ms>.json  the manifest of a closed range, created once
//! ```
//!
//! The object store is a local directory, or an S3 bucket. Only this crate knows keys of objects. It does not decide what is cut, closed or deleted, and reads no clock.

mod blocks;
#[doc(hidden)]
pub mod fuzzing;
mod manifest;
mod remote;
mod s3;
mod store;
mod stream;
mod survey;

pub use blocks::{Blocks, belongs, foreign_labels};
pub use manifest::{Created, Manifest, ManifestBlock};
pub use remote::may_pass;
pub use s3::S3Error;
pub use store::{Bucket, Error};
pub use stream::{OnFailure, stream_block};
pub use survey::Surveyed;

#[cfg(test)]
mod tests;
