//! Entry points for fuzzing: what servers answer.

use crate::Inflate;
use crate::body::BodyError;
use crate::proxy::spares;
use crate::redirect::resolve;

const LIMIT_BYTES: usize = 64 << 10;

/// A body in gzip: whole and in pieces it is the same, and it never goes beyond the limit.
pub fn fuzz_body(bytes: &[u8]) {
    let whole = inflate(bytes, bytes.len().max(1));
    for piece in [1, 7] {
        let pieces = inflate(bytes, piece);
        match (&whole, &pieces) {
            (Ok(a), Ok(b)) => assert_eq!(a, b),
            (Err(BodyError::TooLong { .. }), Err(_)) | (Err(_), Err(BodyError::TooLong { .. })) => {}
            (Err(a), Err(b)) => assert_eq!(a.to_string().is_empty(), b.to_string().is_empty()),
            (a, b) => panic!("whole: {}, in pieces: {}", a.is_ok(), b.is_ok()),
        }
    }
}

fn inflate(bytes: &[u8], piece_bytes: usize) -> Result<Vec<u8>, BodyError> {
    let mut inflate = Inflate::new("gzip", LIMIT_BYTES, bytes.len());
    bytes.chunks(piece_bytes).try_for_each(|piece| inflate.push(piece))?;
    let body = inflate.finish()?;
    assert!(body.len() < LIMIT_BYTES);
    Ok(body)
}

/// A line with the URL that was asked for, then one with the `Location` of the answer, then a rule of `NO_PROXY`.
pub fn fuzz_location(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.split('\n');
    let mut line = || lines.next().unwrap_or_default();
    let (base, location, rule) = (line(), line(), line());
    if let Some(to) = resolve(base, location) {
        assert!(to.contains("://"), "{to:?}");
    }
    spares(rule, location, 80, location.parse().ok());
}
