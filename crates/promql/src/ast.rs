//! The tree of a PromQL expression. Positions are bytes of the text that was parsed.

use model::{DurationMs, MatchOp, Matcher};

/// Bytes `start .. end` of the text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pos {
    /// First byte.
    pub start: usize,
    /// First byte after.
    pub end: usize,
}

/// What kind of value an expression has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ValueType {
    /// Nothing (an argument list of `vector()` in error texts).
    None,
    /// Instant vector.
    Vector,
    /// Number.
    Scalar,
    /// Range vector.
    Matrix,
    /// Text.
    String,
}

/// An expression with its place in the text.
#[derive(Clone, Debug)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// Where it stands.
    pub pos: Pos,
}

/// The kinds of expression.
#[derive(Clone, Debug)]
pub enum ExprKind {
    /// `sum by (a) (x)`
    Aggregate(Aggregate),
    /// `a + b`
    Binary(Binary),
    /// `rate(x[5m])`
    Call(Call),
    /// `x[5m]`
    Matrix(MatrixSelector),
    /// `x[5m:1m]`
    Subquery(Subquery),
    /// `1.5`, also written as a duration
    Number(NumberLiteral),
    /// `(x)`
    Paren(Box<Expr>),
    /// `"text"`, unquoted
    String(StringLiteral),
    /// `-x`, `+x`
    Unary(UnaryOp, Box<Expr>),
    /// `x{a="b"}`
    Vector(VectorSelector),
}

/// A number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NumberLiteral {
    /// Its value (seconds where written as a duration).
    pub value: f64,
    /// Written as a duration, and so printed.
    pub is_duration: bool,
}

/// A text. Escapes (`"\xff"`) can write bytes that are not UTF-8; nothing stored can hold those.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StringLiteral {
    /// The text, with U+FFFD for each byte that is not UTF-8.
    pub text: String,
    /// The exact bytes where `text` does not hold them; only the printer needs them.
    pub exact: Option<Box<[u8]>>,
}

/// Sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnaryOp {
    /// `+`
    Plus,
    /// `-`
    Minus,
}

/// Aggregation operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AggregateOp {
    /// `avg`
    Avg,
    /// `bottomk`
    Bottomk,
    /// `count`
    Count,
    /// `count_values`
    CountValues,
    /// `group`
    Group,
    /// `limitk`
    Limitk,
    /// `limit_ratio`
    LimitRatio,
    /// `max`
    Max,
    /// `min`
    Min,
    /// `quantile`
    Quantile,
    /// `stddev`
    Stddev,
    /// `stdvar`
    Stdvar,
    /// `sum`
    Sum,
    /// `topk`
    Topk,
}

/// `by` or `without`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grouping {
    /// True for `without`.
    pub without: bool,
    /// In the order written.
    pub labels: Vec<String>,
}

/// An aggregation.
#[derive(Clone, Debug)]
pub struct Aggregate {
    /// Which.
    pub op: AggregateOp,
    /// What is aggregated.
    pub expr: Box<Expr>,
    /// `k` of `topk`, the label of `count_values`, …
    pub param: Option<Box<Expr>>,
    /// `by ()` where none was written.
    pub grouping: Grouping,
}

/// Binary operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BinaryOp {
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `*`
    Mul,
    /// `/`
    Div,
    /// `%`
    Mod,
    /// `^`
    Pow,
    /// `atan2`
    Atan2,
    /// `==`
    Eql,
    /// `!=`
    Neq,
    /// `<=`
    Lte,
    /// `<`
    Lss,
    /// `>=`
    Gte,
    /// `>`
    Gtr,
    /// `and`
    And,
    /// `or`
    Or,
    /// `unless`
    Unless,
    /// `</`
    TrimUpper,
    /// `>/`
    TrimLower,
}

/// How many elements may meet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Cardinality {
    /// One to one.
    #[default]
    OneToOne,
    /// `group_left`
    ManyToOne,
    /// `group_right`
    OneToMany,
    /// Set operators.
    ManyToMany,
}

/// How the two sides of an operator between vectors meet.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct VectorMatching {
    /// See [`Cardinality`].
    pub cardinality: Cardinality,
    /// Labels of `on` or `ignoring`, in the order written.
    pub labels: Vec<String>,
    /// True for `on`.
    pub on: bool,
    /// Labels of `group_left` or `group_right`.
    pub include: Vec<String>,
    /// `fill_left`, or `fill`.
    pub fill_left: Option<f64>,
    /// `fill_right`, or `fill`.
    pub fill_right: Option<f64>,
}

/// An operator between two expressions.
#[derive(Clone, Debug)]
pub struct Binary {
    /// Which.
    pub op: BinaryOp,
    /// Left.
    pub lhs: Box<Expr>,
    /// Right.
    pub rhs: Box<Expr>,
    /// `Some` where both sides are vectors.
    pub matching: Option<VectorMatching>,
    /// `bool` was written.
    pub return_bool: bool,
}

/// A call of a function.
#[derive(Clone, Debug)]
pub struct Call {
    /// Name, as in `functions.rs`.
    pub function: &'static str,
    /// Arguments.
    pub args: Vec<Expr>,
}

/// A matcher as it was written: order and duplicates matter for printing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrittenMatcher {
    /// Label.
    pub name: String,
    /// Comparison.
    pub op: MatchOp,
    /// Text or pattern.
    pub value: String,
}

/// `@`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum AtModifier {
    /// `@ 12.5`, in milliseconds.
    Timestamp(i64),
    /// `@ start()`
    Start,
    /// `@ end()`
    End,
}

/// A duration: known when it was parsed, or an expression that needs the query's range and step.
#[derive(Clone, Debug)]
pub enum DurationExpr {
    /// A literal (of seconds or duration), in milliseconds; may be negative in offsets.
    Literal(DurationMs),
    /// An expression in `[ ]` or after `offset`.
    Computed(Box<DurationNode>),
}

/// Arithmetic over durations. Values are seconds.
#[derive(Clone, Debug)]
pub struct DurationNode {
    /// What it is.
    pub kind: DurationNodeKind,
    /// Where it stands.
    pub pos: Pos,
}

/// The kinds of [`DurationNode`].
#[derive(Clone, Debug)]
pub enum DurationNodeKind {
    /// A literal.
    Number(NumberLiteral),
    /// `step()`
    Step,
    /// `range()`
    Range,
    /// `min_of(a, b)`
    MinOf(Box<DurationNode>, Box<DurationNode>),
    /// `max_of(a, b)`
    MaxOf(Box<DurationNode>, Box<DurationNode>),
    /// Sign.
    Unary(UnaryOp, Box<DurationNode>),
    /// `+ - * / % ^`
    Binary(BinaryOp, Box<DurationNode>, Box<DurationNode>),
    /// `( )`
    Paren(Box<DurationNode>),
}

/// `anchored` or `smoothed`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Edges {
    /// Neither.
    #[default]
    Plain,
    /// `anchored`
    Anchored,
    /// `smoothed`
    Smoothed,
}

/// An instant vector selector.
#[derive(Clone, Debug)]
pub struct VectorSelector {
    /// The metric name written in front of the braces; empty where none was.
    pub name: String,
    /// All conditions, the one of the name included, in Prometheus' order (braces first, then the name).
    pub matchers: Vec<Matcher>,
    /// Index into `matchers` and exact bytes of the values that are not UTF-8 (the matcher has U+FFFD instead); only the
    /// printer needs them.
    pub inexact: Vec<(usize, Box<[u8]>)>,
    /// `offset`, as written; `None` for `offset 0`, as in Prometheus.
    pub offset: Option<DurationExpr>,
    /// `@`.
    pub at: Option<AtModifier>,
    /// `anchored`, `smoothed`.
    pub edges: Edges,
}

/// A range vector selector.
#[derive(Clone, Debug)]
pub struct MatrixSelector {
    /// What is selected; modifiers written behind the range are here, as in Prometheus.
    pub selector: VectorSelector,
    /// Where the inner selector stands.
    pub selector_pos: Pos,
    /// The width.
    pub range: DurationExpr,
}

/// A subquery.
#[derive(Clone, Debug)]
pub struct Subquery {
    /// What is evaluated.
    pub expr: Box<Expr>,
    /// The width.
    pub range: DurationExpr,
    /// The step; the default interval where none was written.
    pub step: Option<DurationExpr>,
    /// `offset`, as written.
    pub offset: Option<DurationExpr>,
    /// `@`.
    pub at: Option<AtModifier>,
}
