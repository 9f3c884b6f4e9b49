//! Tokens of PromQL: their kinds, the keywords, and how error texts name them.
//!
//! The order of [`Kind`] is that of Prometheus' grammar file: a few error texts print a kind by its number there.

use crate::ast::{AggregateOp, BinaryOp};
use crate::quote;

/// What a token is. `Marker…` kinds hold the place of the grammar's own marks and are never produced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(dead_code, reason = "marks keep the numbers of the kinds behind them")]
pub(crate) enum Kind {
    Eql,
    Blank,
    Colon,
    Comma,
    Comment,
    Duration,
    Eof,
    Error,
    Identifier,
    LeftBrace,
    LeftBracket,
    LeftParen,
    OpenHist,
    CloseHist,
    MetricIdentifier,
    Number,
    RightBrace,
    RightBracket,
    RightParen,
    /// Nothing comes after; also stands behind a lexical error. In the place of `SEMICOLON`, which nothing produces.
    End,
    Space,
    String,
    Times,
    MarkerHistogram,
    SumDesc,
    CountDesc,
    SchemaDesc,
    OffsetDesc,
    NegativeOffsetDesc,
    BucketsDesc,
    NegativeBucketsDesc,
    ZeroBucketDesc,
    ZeroBucketWidthDesc,
    CustomValuesDesc,
    CounterResetHintDesc,
    MarkerHistogramEnd,
    MarkerOperators,
    Add,
    Div,
    EqlC,
    EqlRegex,
    Gte,
    Gtr,
    TrimUpper,
    TrimLower,
    And,
    Or,
    Lss,
    Lte,
    Unless,
    Mod,
    Mul,
    Neq,
    NeqRegex,
    Pow,
    Sub,
    At,
    Atan2,
    MarkerOperatorsEnd,
    MarkerAggregators,
    Avg,
    Bottomk,
    Count,
    CountValues,
    Group,
    Max,
    Min,
    Quantile,
    Stddev,
    Stdvar,
    Sum,
    Topk,
    Limitk,
    LimitRatio,
    MarkerAggregatorsEnd,
    MarkerKeywords,
    Bool,
    By,
    GroupLeft,
    GroupRight,
    Fill,
    FillLeft,
    FillRight,
    Ignoring,
    Offset,
    Smoothed,
    Anchored,
    On,
    Without,
    MarkerKeywordsEnd,
    MarkerPreprocessors,
    Start,
    EndKeyword,
    Step,
    Range,
    MaxOf,
    MinOf,
    MarkerPreprocessorsEnd,
    MarkerResets,
    UnknownCounterReset,
    CounterReset,
    NotCounterReset,
    GaugeType,
}

/// A token: its kind and the bytes `start .. end`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// The number that the grammar's first token has, as yacc numbers them.
const FIRST_ITEM_NUMBER: u16 = 57346;

/// Keywords that are words, sorted.
const KEYWORDS: [(&str, Kind); 39] = [
    ("anchored", Kind::Anchored),
    ("and", Kind::And),
    ("atan2", Kind::Atan2),
    ("avg", Kind::Avg),
    ("bool", Kind::Bool),
    ("bottomk", Kind::Bottomk),
    ("by", Kind::By),
    ("count", Kind::Count),
    ("count_values", Kind::CountValues),
    ("end", Kind::EndKeyword),
    ("fill", Kind::Fill),
    ("fill_left", Kind::FillLeft),
    ("fill_right", Kind::FillRight),
    ("group", Kind::Group),
    ("group_left", Kind::GroupLeft),
    ("group_right", Kind::GroupRight),
    ("ignoring", Kind::Ignoring),
    ("inf", Kind::Number),
    ("limit_ratio", Kind::LimitRatio),
    ("limitk", Kind::Limitk),
    ("max", Kind::Max),
    ("max_of", Kind::MaxOf),
    ("min", Kind::Min),
    ("min_of", Kind::MinOf),
    ("nan", Kind::Number),
    ("offset", Kind::Offset),
    ("on", Kind::On),
    ("or", Kind::Or),
    ("quantile", Kind::Quantile),
    ("range", Kind::Range),
    ("smoothed", Kind::Smoothed),
    ("start", Kind::Start),
    ("stddev", Kind::Stddev),
    ("stdvar", Kind::Stdvar),
    ("step", Kind::Step),
    ("sum", Kind::Sum),
    ("topk", Kind::Topk),
    ("unless", Kind::Unless),
    ("without", Kind::Without),
];

const KEYWORD_BYTES_MAX: usize = 12;

/// The keys of a histogram in a series description.
const HISTOGRAM_KEYS: [(&str, Kind); 11] = [
    ("buckets", Kind::BucketsDesc),
    ("count", Kind::CountDesc),
    ("counter_reset_hint", Kind::CounterResetHintDesc),
    ("custom_values", Kind::CustomValuesDesc),
    ("n_buckets", Kind::NegativeBucketsDesc),
    ("n_offset", Kind::NegativeOffsetDesc),
    ("offset", Kind::OffsetDesc),
    ("schema", Kind::SchemaDesc),
    ("sum", Kind::SumDesc),
    ("z_bucket", Kind::ZeroBucketDesc),
    ("z_bucket_w", Kind::ZeroBucketWidthDesc),
];

const COUNTER_RESET_HINTS: [(&str, Kind); 4] = [
    ("gauge", Kind::GaugeType),
    ("not_reset", Kind::NotCounterReset),
    ("reset", Kind::CounterReset),
    ("unknown", Kind::UnknownCounterReset),
];

/// Finds `word`, in any case, in a table sorted by its lower-case words.
fn find(table: &[(&str, Kind)], word: &[u8]) -> Option<Kind> {
    let lower = word.iter().map(u8::to_ascii_lowercase);
    table.binary_search_by(|(key, _)| key.bytes().cmp(lower.clone())).ok().map(|i| table[i].1)
}

/// The keyword that `word` is, in any case; `inf` and `nan` are numbers.
pub(crate) fn keyword(word: &[u8]) -> Option<Kind> {
    if word.len() > KEYWORD_BYTES_MAX { None } else { find(&KEYWORDS, word) }
}

/// The histogram key that `word` is.
pub(crate) fn histogram_key(word: &[u8]) -> Option<Kind> {
    find(&HISTOGRAM_KEYS, word)
}

/// The counter reset hint that `word` is.
pub(crate) fn counter_reset_hint(word: &[u8]) -> Option<Kind> {
    find(&COUNTER_RESET_HINTS, word)
}

impl Kind {
    fn is_operator(self) -> bool {
        Kind::MarkerOperators < self && self < Kind::MarkerOperatorsEnd
    }

    fn is_keyword(self) -> bool {
        Kind::MarkerKeywords < self && self < Kind::MarkerKeywordsEnd
    }

    pub(crate) fn is_aggregator(self) -> bool {
        Kind::MarkerAggregators < self && self < Kind::MarkerAggregatorsEnd
    }

    /// Whether error texts show the token alone, without the name of its kind.
    fn is_plain(self) -> bool {
        match self {
            Kind::Comment
            | Kind::Duration
            | Kind::Eof
            | Kind::End
            | Kind::Error
            | Kind::Identifier
            | Kind::MetricIdentifier
            | Kind::Number
            | Kind::String => false,
            k => k < Kind::MarkerHistogram || (Kind::MarkerOperators < k && k < Kind::MarkerPreprocessorsEnd),
        }
    }

    /// Whether the token can be the name of a metric in front of braces.
    pub(crate) fn is_metric_identifier(self) -> bool {
        self.is_aggregator()
            || matches!(
                self,
                Kind::By
                    | Kind::Fill
                    | Kind::FillLeft
                    | Kind::FillRight
                    | Kind::Identifier
                    | Kind::And
                    | Kind::Or
                    | Kind::Unless
                    | Kind::MetricIdentifier
                    | Kind::Offset
                    | Kind::Without
                    | Kind::Start
                    | Kind::EndKeyword
                    | Kind::Step
                    | Kind::Range
                    | Kind::Anchored
                    | Kind::Smoothed
                    | Kind::MaxOf
                    | Kind::MinOf
            )
    }

    /// Whether the token can be a label in a list of `by`, `on` and the like.
    pub(crate) fn is_label(self) -> bool {
        (self.is_metric_identifier() && self != Kind::Without)
            || matches!(self, Kind::Bool | Kind::GroupLeft | Kind::GroupRight | Kind::Ignoring | Kind::On | Kind::Atan2)
    }

    /// Whether an expression can begin with the token.
    pub(crate) fn starts_expr(self) -> bool {
        self.is_metric_identifier()
            || matches!(
                self,
                Kind::Duration
                    | Kind::LeftBrace
                    | Kind::LeftParen
                    | Kind::Number
                    | Kind::String
                    | Kind::Add
                    | Kind::Sub
            )
    }

    /// Whether the arithmetic of a duration can begin with the token.
    pub(crate) fn starts_duration(self) -> bool {
        matches!(
            self,
            Kind::Duration
                | Kind::LeftParen
                | Kind::Number
                | Kind::Add
                | Kind::Sub
                | Kind::Step
                | Kind::Range
                | Kind::MaxOf
                | Kind::MinOf
        )
    }

    /// The operator between two expressions that the token is.
    pub(crate) fn binary_op(self) -> Option<BinaryOp> {
        Some(match self {
            Kind::Add => BinaryOp::Add,
            Kind::Sub => BinaryOp::Sub,
            Kind::Mul => BinaryOp::Mul,
            Kind::Div => BinaryOp::Div,
            Kind::Mod => BinaryOp::Mod,
            Kind::Pow => BinaryOp::Pow,
            Kind::Atan2 => BinaryOp::Atan2,
            Kind::EqlC => BinaryOp::Eql,
            Kind::Neq => BinaryOp::Neq,
            Kind::Lte => BinaryOp::Lte,
            Kind::Lss => BinaryOp::Lss,
            Kind::Gte => BinaryOp::Gte,
            Kind::Gtr => BinaryOp::Gtr,
            Kind::And => BinaryOp::And,
            Kind::Or => BinaryOp::Or,
            Kind::Unless => BinaryOp::Unless,
            Kind::TrimUpper => BinaryOp::TrimUpper,
            Kind::TrimLower => BinaryOp::TrimLower,
            _ => return None,
        })
    }

    /// The aggregation that the token is.
    pub(crate) fn aggregate_op(self) -> Option<AggregateOp> {
        Some(match self {
            Kind::Avg => AggregateOp::Avg,
            Kind::Bottomk => AggregateOp::Bottomk,
            Kind::Count => AggregateOp::Count,
            Kind::CountValues => AggregateOp::CountValues,
            Kind::Group => AggregateOp::Group,
            Kind::Max => AggregateOp::Max,
            Kind::Min => AggregateOp::Min,
            Kind::Quantile => AggregateOp::Quantile,
            Kind::Stddev => AggregateOp::Stddev,
            Kind::Stdvar => AggregateOp::Stdvar,
            Kind::Sum => AggregateOp::Sum,
            Kind::Topk => AggregateOp::Topk,
            Kind::Limitk => AggregateOp::Limitk,
            Kind::LimitRatio => AggregateOp::LimitRatio,
            _ => return None,
        })
    }
}

/// How error texts show the token whose text is `value`.
pub(crate) fn describe(kind: Kind, value: &[u8]) -> String {
    let shown = show(kind, value);
    if kind.is_plain() {
        return shown;
    }
    let name = match kind {
        Kind::Eof | Kind::End => return "end of input".to_owned(),
        Kind::Comment => "comment",
        Kind::Duration => "duration",
        Kind::Error => "error",
        Kind::Identifier => "identifier",
        Kind::MetricIdentifier => "metric identifier",
        Kind::Number => "number",
        Kind::String => "string",
        _ => return format!("\"<Item {}>\" {shown}", FIRST_ITEM_NUMBER + kind as u16),
    };
    format!("{name} {shown}")
}

fn show(kind: Kind, value: &[u8]) -> String {
    /// Longer texts are cut in error texts.
    const SHOWN_CHARS: usize = 10;
    match kind {
        Kind::Identifier | Kind::MetricIdentifier => quote::quoted(value),
        k if k.is_keyword() => format!("<{}>", String::from_utf8_lossy(value)),
        k if k.is_operator() => format!("<op:{}>", String::from_utf8_lossy(value)),
        k if k.is_aggregator() => format!("<aggr:{}>", String::from_utf8_lossy(value)),
        _ if value.len() > SHOWN_CHARS => format!("{}...", quote::quoted(quote::first_chars(value, SHOWN_CHARS))),
        _ => quote::quoted(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_sorted() {
        assert!(KEYWORDS.is_sorted_by_key(|k| k.0));
        assert!(HISTOGRAM_KEYS.is_sorted_by_key(|k| k.0));
        assert!(COUNTER_RESET_HINTS.is_sorted_by_key(|k| k.0));
    }

    #[test]
    fn keywords_are_found_in_any_case() {
        assert_eq!(keyword(b"OFFset"), Some(Kind::Offset));
        assert_eq!(keyword(b"Inf"), Some(Kind::Number));
        assert_eq!(keyword(b"offsets"), None);
    }
}
