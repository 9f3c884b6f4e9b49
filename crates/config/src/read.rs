//! From a text to a filled value, or to why not.

use crate::error::Refused;
use crate::yaml::{Decode, Decoder, Document};

/// Reads the first YAML document of `text` into `out`, which keeps what it has where there is none. Nothing is refused
/// before all types are checked, but for a value that refuses itself.
pub(crate) fn read_into<T: Decode>(text: &str, out: &mut T) -> Result<(), Refused> {
    let doc = Document::parse(text).map_err(|e| Refused::Syntax { at: e.at, text: e.text })?;
    let Some(root) = doc.root() else { return Ok(()) };
    let mut decoder = Decoder::new(&doc);
    decoder.fill(root, out).map_err(|fail| Refused::Value { at: fail.at, text: fail.text })?;
    match decoder.into_errors() {
        errors if errors.is_empty() => Ok(()),
        errors => Err(Refused::Types(errors)),
    }
}
