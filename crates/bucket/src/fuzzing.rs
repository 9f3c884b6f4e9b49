//! Entry points for fuzzing: objects that others put into the bucket.

use crate::Manifest;

/// A manifest; one that is read says the same when it is written.
pub fn fuzz_manifest(bytes: &[u8]) {
    let Ok(manifest) = Manifest::read(bytes) else { return };
    assert_eq!(Manifest::read(&manifest.write()).expect("we wrote it"), manifest);
}
