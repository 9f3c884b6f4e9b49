//! Errors of the parser, with Prometheus' texts and positions.

use std::fmt;

use crate::ast::Pos;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// Where; as Prometheus says it, which is 0, 0 where it does not know.
    pub pos: Pos,
    /// What.
    pub message: String,
}

/// All that is wrong with a text, in the order in which it was found; never empty. Prints as the first of them with its line
/// and column: `1:7: parse error: …`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseErrors {
    errors: Vec<ParseError>,
    /// Line and column of the first one, from 1; `None` where the text is empty.
    place: Option<(usize, usize)>,
}

impl ParseErrors {
    /// What is wrong with `text`.
    pub(crate) fn new(text: &[u8], errors: Vec<ParseError>) -> ParseErrors {
        let start = errors.first().map_or(0, |e| e.pos.start);
        let place = (!text.is_empty()).then(|| line_and_column(text, start));
        ParseErrors { errors, place }
    }

    /// The errors.
    pub fn errors(&self) -> &[ParseError] {
        &self.errors
    }
}

/// Both count from 1, columns in bytes.
fn line_and_column(text: &[u8], at: usize) -> (usize, usize) {
    let before = &text[..at.min(text.len())];
    let line = 1 + before.iter().filter(|b| **b == b'\n').count();
    let line_start = before.iter().rposition(|b| *b == b'\n').map_or(0, |i| i + 1);
    (line, before.len() - line_start + 1)
}

impl fmt::Display for ParseErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Some((line, column)) => write!(f, "{line}:{column}")?,
            None => f.write_str("unknown position")?,
        }
        let first = self.errors.first().map_or("", |e| &e.message);
        write!(f, ": parse error: {first}")
    }
}

impl std::error::Error for ParseErrors {}
