//! Why a page is refused: the texts of Prometheus, with the place.

use std::fmt;

use crate::quote::Quoted;

/// A page is refused at some line. Displays Prometheus' text; the place is in the fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// Line where the refused entry begins, from 1.
    pub line: usize,
    /// Where reading stopped, in bytes from the start of the page.
    pub offset: usize,
    /// Why.
    pub kind: Box<ParseErrorKind>,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)
    }
}

impl std::error::Error for ParseError {}

/// Why an entry is refused. Bytes are as they stand in the page; `parsed` is the entry up to where reading stopped.
/// Source: `promparse.go` and `openmetricsparse.go` of Prometheus.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseErrorKind {
    /// Another token than those that may stand here.
    #[error("{expected}, got {} (\"{token}\") while parsing: {}", Quoted(got), Quoted(parsed))]
    Unexpected {
        /// What may stand here, in words.
        expected: &'static str,
        /// What stands here.
        got: Box<[u8]>,
        /// What it was taken for.
        token: Token,
        /// The entry so far.
        parsed: Box<[u8]>,
    },
    /// A `HELP`, `TYPE` or `UNIT` whose text does not follow. Only in OpenMetrics.
    #[error("expected text in {0}")]
    NoText(Token),
    /// No type of this format.
    #[error("invalid metric type {}", Quoted(.0))]
    MetricType(Box<[u8]>),
    /// A help text is not UTF-8.
    #[error("help text {} is not a valid utf8 string", Quoted(.0))]
    HelpNotUtf8(Box<[u8]>),
    /// A label value, here with its quotes, is not UTF-8.
    #[error("invalid UTF-8 label value: {}", Quoted(.0))]
    LabelValueNotUtf8(Box<[u8]>),
    /// The family's name must end in `_` and the unit.
    #[error("unit {} not a suffix of metric {}", Quoted(unit), Quoted(family))]
    Unit {
        /// The unit.
        unit: Box<[u8]>,
        /// The name.
        family: Box<[u8]>,
    },
    /// A second metric name.
    #[error("metric name already set while parsing: {}", Quoted(.0))]
    SecondName(Box<[u8]>),
    /// Braces without a metric name in them or before them.
    #[error("metric name not set while parsing: {}", Quoted(.0))]
    NoName(Box<[u8]>),
    /// A value or an OpenMetrics timestamp is no number.
    #[error("{} while parsing: {}", FloatErrorOf(reason, number), Quoted(parsed))]
    Float {
        /// Why.
        reason: FloatError,
        /// The text.
        number: Box<[u8]>,
        /// The entry so far.
        parsed: Box<[u8]>,
    },
    /// A timestamp of the text format does not fit in 64 bits.
    #[error("strconv.ParseInt: parsing {}: value out of range while parsing: {}", Quoted(number), Quoted(parsed))]
    TimestampRange {
        /// The text.
        number: Box<[u8]>,
        /// The entry so far.
        parsed: Box<[u8]>,
    },
    /// A timestamp of OpenMetrics is infinite or no number.
    #[error("invalid timestamp {}", go_f(*.0))]
    Timestamp(NotFinite),
    /// The same of an exemplar.
    #[error("invalid exemplar timestamp {}", go_f(*.0))]
    ExemplarTimestamp(NotFinite),
    /// OpenMetrics must end with `# EOF`.
    #[error("data does not end with # EOF")]
    NoEof,
    /// Nothing may follow `# EOF`.
    #[error("unexpected data after # EOF")]
    AfterEof,
}

/// A float that is not finite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotFinite {
    /// No number.
    Nan,
    /// Infinite.
    Plus,
    /// Infinite and negative.
    Minus,
}

/// As Go's `%f` prints it.
fn go_f(value: NotFinite) -> &'static str {
    match value {
        NotFinite::Nan => "NaN",
        NotFinite::Plus => "+Inf",
        NotFinite::Minus => "-Inf",
    }
}

/// Why a text is no float.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FloatError {
    /// Not a number, or one in a notation that is refused here.
    #[error("invalid syntax")]
    Syntax,
    /// Too large.
    #[error("value out of range")]
    Range,
    /// One of the characters that only newer notations of Go have.
    #[error("unsupported character in float")]
    UnsupportedCharacter,
}

struct FloatErrorOf<'a>(&'a FloatError, &'a [u8]);

impl fmt::Display for FloatErrorOf<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            FloatError::UnsupportedCharacter => self.0.fmt(f),
            FloatError::Syntax | FloatError::Range => {
                write!(f, "strconv.ParseFloat: parsing {}: {}", Quoted(self.1), self.0)
            }
        }
    }
}

/// The kinds of tokens; they display as Prometheus names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names of Prometheus say it")]
pub enum Token {
    Invalid,
    Eof,
    Linebreak,
    Help,
    Type,
    Unit,
    EofWord,
    Text,
    Comment,
    MetricName,
    QuotedString,
    BraceOpen,
    BraceClose,
    LabelName,
    LabelValue,
    Comma,
    Equal,
    Timestamp,
    Value,
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Token::Invalid => "INVALID",
            Token::Eof => "EOF",
            Token::Linebreak => "LINEBREAK",
            Token::Help => "HELP",
            Token::Type => "TYPE",
            Token::Unit => "UNIT",
            Token::EofWord => "EOFWORD",
            Token::Text => "TEXT",
            Token::Comment => "COMMENT",
            Token::MetricName => "MNAME",
            Token::QuotedString => "QSTRING",
            Token::BraceOpen => "BOPEN",
            Token::BraceClose => "BCLOSE",
            Token::LabelName => "LNAME",
            Token::LabelValue => "LVALUE",
            Token::Comma => "COMMA",
            Token::Equal => "EQUAL",
            Token::Timestamp => "TIMESTAMP",
            Token::Value => "VALUE",
        })
    }
}
