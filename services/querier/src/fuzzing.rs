//! Entry points for fuzzing: bytes of a client go in, nothing may panic.

use crate::api::fuzz_parameters;

/// Bytes as the body of a form and as the query of a URL, every parameter read in every way.
pub fn fuzz_form(bytes: &[u8]) {
    fuzz_parameters(bytes);
}
