//! Expressions as texts: Prometheus' `Expr.String()`.
//!
//! Source: Prometheus `promql/parser/printer.go` at v3.14.0.

use std::borrow::Cow;
use std::fmt::{self, Display, Formatter, Write};

use model::{METRIC_NAME, MatchOp, Matcher, is_legacy_label_name};

use crate::ast::{
    Aggregate, AggregateOp, AtModifier, Binary, BinaryOp, Call, Cardinality, DurationExpr, DurationNode,
    DurationNodeKind, Edges, Expr, ExprKind, MatrixSelector, NumberLiteral, StringLiteral, Subquery, UnaryOp,
    VectorMatching, VectorSelector,
};
use crate::duration::{NO_DURATION, write_millis};
use crate::numbers;
use crate::quote::write_quoted;

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write_expr(f, self)
    }
}

/// Writes an expression; stops where `out` gives an error.
pub(crate) fn write_expr(out: &mut impl Write, expr: &Expr) -> fmt::Result {
    match &expr.kind {
        ExprKind::Aggregate(a) => write_aggregate(out, a),
        ExprKind::Binary(b) => {
            write_expr(out, &b.lhs)?;
            out.write_char(' ')?;
            write_operator(out, b)?;
            out.write_char(' ')?;
            write_expr(out, &b.rhs)
        }
        ExprKind::Call(c) => write_call(out, c),
        ExprKind::Matrix(m) => write_matrix(out, m),
        ExprKind::Subquery(s) => {
            write_expr(out, &s.expr)?;
            write_subquery_suffix(out, s)
        }
        ExprKind::Number(n) => write_number(out, *n),
        ExprKind::Paren(inner) => {
            out.write_char('(')?;
            write_expr(out, inner)?;
            out.write_char(')')
        }
        ExprKind::String(s) => write_quoted(out, s.bytes()),
        ExprKind::Unary(op, inner) => {
            out.write_str(op.as_str())?;
            write_expr(out, inner)
        }
        ExprKind::Vector(v) => write_vector(out, v),
    }
}

impl StringLiteral {
    /// The bytes that were written.
    pub fn bytes(&self) -> &[u8] {
        self.exact.as_deref().unwrap_or(self.text.as_bytes())
    }
}

impl VectorSelector {
    /// The bytes that were written as the value of matcher `m`, which is at `index`.
    pub(crate) fn value_bytes<'a>(&'a self, index: usize, m: &'a Matcher) -> &'a [u8] {
        let exact = self.inexact.iter().find(|(i, _)| *i == index);
        exact.map_or(m.value().as_bytes(), |(_, bytes)| bytes)
    }
}

fn write_aggregate(out: &mut impl Write, aggregate: &Aggregate) -> fmt::Result {
    write_aggregate_head(out, aggregate)?;
    out.write_char('(')?;
    if let Some(param) = &aggregate.param {
        write_expr(out, param)?;
        out.write_str(", ")?;
    }
    write_expr(out, &aggregate.expr)?;
    out.write_char(')')
}

/// `sum by (a) `: what stands in front of the parenthesis.
pub(crate) fn write_aggregate_head(out: &mut impl Write, aggregate: &Aggregate) -> fmt::Result {
    out.write_str(aggregate.op.as_str())?;
    let grouping = &aggregate.grouping;
    let keyword = match (grouping.without, grouping.labels.is_empty()) {
        (true, _) => " without ",
        (false, false) => " by ",
        (false, true) => return Ok(()),
    };
    out.write_str(keyword)?;
    write_labels(out, &grouping.labels)?;
    out.write_char(' ')
}

fn write_labels(out: &mut impl Write, labels: &[String]) -> fmt::Result {
    out.write_char('(')?;
    for (i, label) in labels.iter().enumerate() {
        if i > 0 {
            out.write_str(", ")?;
        }
        write_label_name(out, label)?;
    }
    out.write_char(')')
}

fn write_label_name(out: &mut impl Write, name: &str) -> fmt::Result {
    if is_legacy_label_name(name) { out.write_str(name) } else { write_quoted(out, name.as_bytes()) }
}

/// The operator with its modifiers: `+ on (a) group_left (b)`.
pub(crate) fn write_operator(out: &mut impl Write, binary: &Binary) -> fmt::Result {
    out.write_str(binary.op.as_str())?;
    if binary.return_bool {
        out.write_str(" bool")?;
    }
    binary.matching.as_ref().map_or(Ok(()), |m| write_matching(out, m))
}

fn write_matching(out: &mut impl Write, matching: &VectorMatching) -> fmt::Result {
    let group = match matching.cardinality {
        Cardinality::ManyToOne => Some(" group_left "),
        Cardinality::OneToMany => Some(" group_right "),
        Cardinality::OneToOne | Cardinality::ManyToMany => None,
    };
    if !matching.labels.is_empty() || matching.on || group.is_some() {
        out.write_str(if matching.on { " on " } else { " ignoring " })?;
        write_labels(out, &matching.labels)?;
    }
    if let Some(group) = group {
        out.write_str(group)?;
        write_labels(out, &matching.include)?;
    }
    match (matching.fill_left, matching.fill_right) {
        (Some(left), Some(right)) if left == right => write!(out, " fill ({})", numbers::format_g(left)),
        (left, right) => {
            for (name, value) in [("fill_left", left), ("fill_right", right)] {
                if let Some(value) = value {
                    write!(out, " {name} ({})", numbers::format_g(value))?;
                }
            }
            Ok(())
        }
    }
}

fn write_call(out: &mut impl Write, call: &Call) -> fmt::Result {
    out.write_str(call.function)?;
    out.write_char('(')?;
    for (i, arg) in call.args.iter().enumerate() {
        if i > 0 {
            out.write_str(", ")?;
        }
        write_expr(out, arg)?;
    }
    out.write_char(')')
}

fn write_number(out: &mut impl Write, number: NumberLiteral) -> fmt::Result {
    if number.is_duration {
        return write_millis(out, numbers::to_i64(number.value * 1e9) / 1_000_000);
    }
    out.write_str(&numbers::format_f(number.value))
}

fn write_vector(out: &mut impl Write, vector: &VectorSelector) -> fmt::Result {
    write_selector(out, vector)?;
    write_at(out, vector.at)?;
    write_edges(out, vector.edges)?;
    write_offset(out, vector.offset.as_ref())
}

fn write_matrix(out: &mut impl Write, matrix: &MatrixSelector) -> fmt::Result {
    write_selector(out, &matrix.selector)?;
    out.write_char('[')?;
    write_duration(out, &matrix.range)?;
    out.write_char(']')?;
    write_edges(out, matrix.selector.edges)?;
    write_at(out, matrix.selector.at)?;
    write_offset(out, matrix.selector.offset.as_ref())
}

/// Name and conditions, sorted as texts, without modifiers.
fn write_selector(out: &mut impl Write, vector: &VectorSelector) -> fmt::Result {
    out.write_str(&vector.name)?;
    let mut conditions: Vec<Cow<'_, str>> = Vec::new();
    for (i, m) in vector.matchers.iter().enumerate() {
        // The condition of the name in front is not printed twice.
        let is_name = m.name() == METRIC_NAME && m.op() == MatchOp::Equal && m.value() == vector.name;
        if is_name && !m.value().is_empty() {
            continue;
        }
        let mut text = String::new();
        write_label_name(&mut text, m.name())?;
        text.write_str(m.op().as_str())?;
        write_quoted(&mut text, vector.value_bytes(i, m))?;
        conditions.push(text.into());
    }
    if conditions.is_empty() {
        return Ok(());
    }
    conditions.sort_unstable();
    write!(out, "{{{}}}", conditions.join(","))
}

fn write_edges(out: &mut impl Write, edges: Edges) -> fmt::Result {
    match edges {
        Edges::Plain => Ok(()),
        Edges::Anchored | Edges::Smoothed => write!(out, " {}", edges.name()),
    }
}

#[expect(clippy::cast_precision_loss, reason = "as in Prometheus")]
fn write_at(out: &mut impl Write, at: Option<AtModifier>) -> fmt::Result {
    match at {
        None => Ok(()),
        Some(AtModifier::Timestamp(ms)) => write!(out, " @ {:.3}", ms as f64 / 1000.0),
        Some(AtModifier::Start) => out.write_str(" @ start()"),
        Some(AtModifier::End) => out.write_str(" @ end()"),
    }
}

fn write_offset(out: &mut impl Write, offset: Option<&DurationExpr>) -> fmt::Result {
    let Some(offset) = offset else { return Ok(()) };
    out.write_str(" offset ")?;
    if matches!(offset, DurationExpr::Literal(NO_DURATION)) {
        // Its negation is itself, so that the sign is printed twice.
        out.write_char('-')?;
    }
    write_duration(out, offset)
}

fn write_duration(out: &mut impl Write, duration: &DurationExpr) -> fmt::Result {
    match duration {
        DurationExpr::Literal(NO_DURATION) => write_millis(out, NO_DURATION.0 + 1),
        DurationExpr::Literal(d) => write_millis(out, d.0),
        DurationExpr::Computed(node) => write_duration_node(out, node),
    }
}

/// `[5m:1m] @ 10.000 offset 5m`
pub(crate) fn write_subquery_suffix(out: &mut impl Write, subquery: &Subquery) -> fmt::Result {
    out.write_char('[')?;
    write_duration(out, &subquery.range)?;
    out.write_char(':')?;
    if let Some(step) = &subquery.step {
        write_duration(out, step)?;
    }
    out.write_char(']')?;
    write_at(out, subquery.at)?;
    write_offset(out, subquery.offset.as_ref())
}

fn write_duration_node(out: &mut impl Write, node: &DurationNode) -> fmt::Result {
    let (name, a, b) = match &node.kind {
        DurationNodeKind::Number(n) => return write_number(out, *n),
        DurationNodeKind::Step => return out.write_str("step()"),
        DurationNodeKind::Range => return out.write_str("range()"),
        DurationNodeKind::Paren(inner) => {
            out.write_char('(')?;
            write_duration_node(out, inner)?;
            return out.write_char(')');
        }
        DurationNodeKind::Unary(op, inner) => {
            if *op == UnaryOp::Minus {
                out.write_char('-')?;
            }
            return write_duration_node(out, inner);
        }
        DurationNodeKind::Binary(op, a, b) => {
            write_duration_node(out, a)?;
            write!(out, " {op} ")?;
            return write_duration_node(out, b);
        }
        DurationNodeKind::MinOf(a, b) => ("min_of", a, b),
        DurationNodeKind::MaxOf(a, b) => ("max_of", a, b),
    };
    write!(out, "{name}(")?;
    write_duration_node(out, a)?;
    out.write_str(", ")?;
    write_duration_node(out, b)?;
    out.write_char(')')
}

impl UnaryOp {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            UnaryOp::Plus => "+",
            UnaryOp::Minus => "-",
        }
    }
}

impl BinaryOp {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            BinaryOp::Add => "+",
            BinaryOp::Sub => "-",
            BinaryOp::Mul => "*",
            BinaryOp::Div => "/",
            BinaryOp::Mod => "%",
            BinaryOp::Pow => "^",
            BinaryOp::Atan2 => "atan2",
            BinaryOp::Eql => "==",
            BinaryOp::Neq => "!=",
            BinaryOp::Lte => "<=",
            BinaryOp::Lss => "<",
            BinaryOp::Gte => ">=",
            BinaryOp::Gtr => ">",
            BinaryOp::And => "and",
            BinaryOp::Or => "or",
            BinaryOp::Unless => "unless",
            BinaryOp::TrimUpper => "</",
            BinaryOp::TrimLower => ">/",
        }
    }
}

impl Display for BinaryOp {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl AggregateOp {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            AggregateOp::Avg => "avg",
            AggregateOp::Bottomk => "bottomk",
            AggregateOp::Count => "count",
            AggregateOp::CountValues => "count_values",
            AggregateOp::Group => "group",
            AggregateOp::Limitk => "limitk",
            AggregateOp::LimitRatio => "limit_ratio",
            AggregateOp::Max => "max",
            AggregateOp::Min => "min",
            AggregateOp::Quantile => "quantile",
            AggregateOp::Stddev => "stddev",
            AggregateOp::Stdvar => "stdvar",
            AggregateOp::Sum => "sum",
            AggregateOp::Topk => "topk",
        }
    }
}

impl Display for AggregateOp {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
