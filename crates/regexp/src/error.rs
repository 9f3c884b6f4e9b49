//! Why a pattern is refused, in the words of Go's `regexp/syntax`.

use std::fmt;

/// The kinds of mistakes that Go's parser tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// `[b-a]`, `\p{Nope}`, `[[:nope:]]`
    InvalidCharRange,
    /// `\y`
    InvalidEscape,
    /// `(?P<n m>a)`
    InvalidNamedCapture,
    /// `(?x)`
    InvalidPerlOp,
    /// `a**`
    InvalidRepeatOp,
    /// `a{1001}`
    InvalidRepeatSize,
    /// Bytes that are not UTF-8.
    InvalidUtf8,
    /// `[a`
    MissingBracket,
    /// `(a`
    MissingParen,
    /// `*`
    MissingRepeatArgument,
    /// `a\`
    TrailingBackslash,
    /// `a)`
    UnexpectedParen,
    /// More than 1,000 levels.
    NestingDepth,
    /// More than Go's or this crate's engine takes.
    TooLarge,
}

impl ErrorKind {
    /// Go's text.
    pub fn as_str(self) -> &'static str {
        match self {
            ErrorKind::InvalidCharRange => "invalid character class range",
            ErrorKind::InvalidEscape => "invalid escape sequence",
            ErrorKind::InvalidNamedCapture => "invalid named capture",
            ErrorKind::InvalidPerlOp => "invalid or unsupported Perl syntax",
            ErrorKind::InvalidRepeatOp => "invalid nested repetition operator",
            ErrorKind::InvalidRepeatSize => "invalid repeat count",
            ErrorKind::InvalidUtf8 => "invalid UTF-8",
            ErrorKind::MissingBracket => "missing closing ]",
            ErrorKind::MissingParen => "missing closing )",
            ErrorKind::MissingRepeatArgument => "missing argument to repetition operator",
            ErrorKind::TrailingBackslash => "trailing backslash at end of expression",
            ErrorKind::UnexpectedParen => "unexpected )",
            ErrorKind::NestingDepth => "expression nests too deeply",
            ErrorKind::TooLarge => "expression too large",
        }
    }
}

/// Why a pattern was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    expr: String,
}

impl Error {
    /// `expr` is the part of the pattern that Go would show; bytes that are not UTF-8 become U+FFFD, one each, as Go's JSON
    /// writer makes them.
    pub(crate) fn new(kind: ErrorKind, expr: &[u8]) -> Error {
        let mut shown = String::with_capacity(expr.len());
        for chunk in expr.utf8_chunks() {
            shown.push_str(chunk.valid());
            shown.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
        }
        Error { kind, expr: shown }
    }

    /// What is wrong.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Where: the part of the pattern.
    pub fn expr(&self) -> &str {
        &self.expr
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error parsing regexp: {}: `{}`", self.kind.as_str(), self.expr)
    }
}

impl std::error::Error for Error {}
