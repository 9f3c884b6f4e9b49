//! Types: which values operators, functions and aggregations take. Runs only over what is grammatical.

use model::METRIC_NAME;

use super::Parser;
use crate::ast::{
    Aggregate, AggregateOp, Binary, BinaryOp, Call, Cardinality, Expr, ExprKind, Pos, ValueType, VectorMatching,
    VectorSelector,
};
use crate::functions::{self, Function, Variadic};
use crate::quote::quoted;

/// Checks an expression and all below it, and returns its type. Decides what the parser left open: that operators not
/// between two vectors have no matching, and that set operators match many to many.
pub(super) fn check(parser: &mut Parser<'_>, expr: &mut Expr) -> ValueType {
    let pos = expr.pos;
    match &mut expr.kind {
        ExprKind::Aggregate(aggregate) => check_aggregate(parser, aggregate),
        ExprKind::Binary(binary) => check_binary(parser, binary, pos),
        ExprKind::Call(call) => check_call(parser, call, pos),
        ExprKind::Matrix(matrix) => {
            check_vector(parser, &matrix.selector, matrix.selector_pos, EmptyMatchers::Refused);
            ValueType::Matrix
        }
        ExprKind::Subquery(subquery) => {
            let of = check(parser, &mut subquery.expr);
            if of != ValueType::Vector {
                parser.error(pos, format!("subquery is only allowed on instant vector, got {} instead", of.name()));
            }
            ValueType::Matrix
        }
        ExprKind::Number(_) => ValueType::Scalar,
        ExprKind::String(_) => ValueType::String,
        ExprKind::Paren(inner) => check(parser, inner),
        ExprKind::Unary(_, inner) => {
            let of = check(parser, inner);
            if !is_vector_or_scalar(of) {
                let what = "unary expression only allowed on expressions of type scalar or instant vector";
                parser.error(pos, format!("{what}, got \"{}\"", of.documented()));
            }
            of
        }
        ExprKind::Vector(vector) => {
            check_vector(parser, vector, pos, EmptyMatchers::Refused);
            ValueType::Vector
        }
    }
}

fn is_vector_or_scalar(t: ValueType) -> bool {
    matches!(t, ValueType::Vector | ValueType::Scalar)
}

/// Whether a selector may be one that every series satisfies.
#[derive(PartialEq)]
enum EmptyMatchers {
    Refused,
    Allowed,
}

fn check_vector(parser: &mut Parser<'_>, vector: &VectorSelector, pos: Pos, empty: EmptyMatchers) {
    if vector.name.is_empty() {
        if empty == EmptyMatchers::Refused && vector.matchers.iter().all(|m| m.matches_empty()) {
            parser.error(pos, "vector selector must contain at least one non-empty matcher");
        }
        return;
    }
    // The last one is the name in front of the braces.
    let written = vector.matchers.len() - 1;
    for (i, m) in vector.matchers[..written].iter().enumerate().filter(|(_, m)| m.name() == METRIC_NAME) {
        let (name, value) = (quoted(vector.name.as_bytes()), quoted(vector.value_bytes(i, m)));
        parser.error(pos, format!("metric name must not be set twice: {name} or {value}"));
    }
}

fn check_aggregate(parser: &mut Parser<'_>, aggregate: &mut Aggregate) -> ValueType {
    expect_type(parser, &mut aggregate.expr, ValueType::Vector, "aggregation expression");
    if let Some(param) = &mut aggregate.param {
        let wanted = if aggregate.op == AggregateOp::CountValues { ValueType::String } else { ValueType::Scalar };
        expect_type(parser, param, wanted, "aggregation parameter");
    }
    ValueType::Vector
}

fn expect_type(parser: &mut Parser<'_>, expr: &mut Expr, wanted: ValueType, context: &str) {
    let got = check(parser, expr);
    if got != wanted {
        let (wanted, got) = (wanted.documented(), got.documented());
        parser.error(expr.pos, format!("expected type {wanted} in {context}, got {got}"));
    }
}

fn check_binary(parser: &mut Parser<'_>, binary: &mut Binary, pos: Pos) -> ValueType {
    let left = check(parser, &mut binary.lhs);
    let right = check(parser, &mut binary.rhs);
    let both_scalar = left == ValueType::Scalar && right == ValueType::Scalar;
    let op_pos = operator_pos(parser, binary);
    if binary.return_bool && !binary.op.is_comparison() {
        parser.error(op_pos, "bool modifier can only be used on comparison operators");
    }
    if binary.op.is_comparison() && !binary.return_bool && both_scalar {
        parser.error(op_pos, "comparisons between scalars must use BOOL modifier");
    }
    check_matching_labels(parser, binary, op_pos);
    for (side, t) in [(&binary.lhs, left), (&binary.rhs, right)] {
        if !is_vector_or_scalar(t) {
            parser.error(side.pos, "binary expression must contain only scalar and instant vector types");
        }
    }
    if left == ValueType::Vector && right == ValueType::Vector {
        check_set_operator(parser, binary, pos);
    } else if let Some(matching) = binary.matching.take() {
        check_no_matching(parser, &matching, pos);
    }
    if binary.op.is_set() && (left == ValueType::Scalar || right == ValueType::Scalar) {
        parser.error(pos, format!("set operator \"{}\" not allowed in binary scalar expression", binary.op));
    }
    if both_scalar { ValueType::Scalar } else { ValueType::Vector }
}

fn check_matching_labels(parser: &mut Parser<'_>, binary: &mut Binary, op_pos: Pos) {
    let Some(matching) = &mut binary.matching else { return };
    if binary.op.is_set() && matching.cardinality == Cardinality::OneToOne {
        matching.cardinality = Cardinality::ManyToMany;
    }
    if !matching.on {
        return;
    }
    for label in &matching.labels {
        for _ in matching.include.iter().filter(|i| *i == label) {
            let label = quoted(label.as_bytes());
            parser.error(op_pos, format!("label {label} must not occur in ON and GROUP clause at once"));
        }
    }
}

fn check_set_operator(parser: &mut Parser<'_>, binary: &Binary, pos: Pos) {
    let Some(matching) = binary.matching.as_ref().filter(|_| binary.op.is_set()) else { return };
    if matching.cardinality != Cardinality::ManyToMany {
        parser.error(pos, format!("no grouping allowed for \"{}\" operation", binary.op));
        parser.error(pos, "set operations must always be many-to-many");
    }
    if matching.fill_left.is_some() || matching.fill_right.is_some() {
        parser.error(pos, "filling in missing series not allowed for set operators");
    }
}

fn check_no_matching(parser: &mut Parser<'_>, matching: &VectorMatching, pos: Pos) {
    if !matching.labels.is_empty() {
        parser.error(pos, "vector matching only allowed between instant vectors");
    }
    if matching.fill_left.is_some() || matching.fill_right.is_some() {
        parser.error(pos, "filling in missing series only allowed between instant vectors");
    }
}

/// The operator with its modifiers, without the space around; its end is that of Prometheus, one byte early.
fn operator_pos(parser: &Parser<'_>, binary: &Binary) -> Pos {
    let text = parser.lexer.input();
    let is_space = |b: &u8| matches!(b, b' ' | b'\t' | b'\n' | b'\r');
    let mut start = binary.lhs.pos.end;
    while text.get(start).is_some_and(is_space) {
        start += 1;
    }
    let mut end = binary.rhs.pos.start.saturating_sub(1);
    while end > 0 && text.get(end).is_some_and(is_space) {
        end -= 1;
    }
    Pos { start, end }
}

fn check_call(parser: &mut Parser<'_>, call: &mut Call, pos: Pos) -> ValueType {
    let Some(function) = functions::function(call.function) else { return ValueType::None };
    check_arg_count(parser, function, call.args.len(), pos);
    let mut empty = EmptyMatchers::Refused;
    if function.name == "info"
        && let Some(second) = call.args.get(1)
    {
        empty = check_info_selector(parser, second, pos);
    }
    for (i, arg) in call.args.iter_mut().enumerate() {
        // More arguments than the function has are checked only where it takes any number of them.
        let wanted = match (function.args.get(i), function.variadic) {
            (Some(wanted), _) => *wanted,
            (None, Variadic::No) => break,
            (None, Variadic::UpTo(_) | Variadic::Many) => function.args[function.args.len() - 1],
        };
        let got = match &arg.kind {
            ExprKind::Vector(vector) if i == 1 && empty == EmptyMatchers::Allowed => {
                check_vector(parser, vector, arg.pos, EmptyMatchers::Allowed);
                ValueType::Vector
            }
            _ => check(parser, arg),
        };
        if got != wanted {
            wrong_argument(parser, function, wanted, got, arg.pos);
        }
    }
    function.returns
}

fn wrong_argument(parser: &mut Parser<'_>, function: &Function, wanted: ValueType, got: ValueType, pos: Pos) {
    let (wanted, got) = (wanted.documented(), got.documented());
    parser.error(pos, format!("expected type {wanted} in call to function \"{}\", got {got}", function.name));
}

fn check_arg_count(parser: &mut Parser<'_>, function: &Function, count: usize, pos: Pos) {
    let (min, max) = function.arg_counts();
    let (bound, n) = match max {
        Some(max) if max == min && function.variadic == Variadic::No && count != min => ("", min),
        _ if count < min => ("at least ", min),
        Some(max) if count > max => ("at most ", max),
        _ => return,
    };
    let name = function.name;
    parser.error(pos, format!("expected {bound}{n} argument(s) in call to \"{name}\", got {count}"));
}

/// The second argument of `info` holds conditions on labels, and may be one that everything satisfies.
fn check_info_selector(parser: &mut Parser<'_>, arg: &Expr, call: Pos) -> EmptyMatchers {
    let got = arg.value_type();
    if got != ValueType::Vector {
        let (wanted, got) = (ValueType::Vector.documented(), got.documented());
        parser.error(call, format!("expected type {wanted} in call to function \"info\", got {got}"));
    }
    match &arg.kind {
        ExprKind::Vector(vector) if vector.name.is_empty() => return EmptyMatchers::Allowed,
        ExprKind::Vector(_) => parser.error(arg.pos, "expected label selectors only, got vector selector instead"),
        _ => parser.error(arg.pos, "expected label selectors only"),
    }
    EmptyMatchers::Refused
}

impl BinaryOp {
    /// `==`, `!=`, `<`, …
    pub fn is_comparison(self) -> bool {
        use BinaryOp::{Eql, Gte, Gtr, Lss, Lte, Neq};
        matches!(self, Eql | Neq | Lte | Lss | Gte | Gtr)
    }

    /// `and`, `or`, `unless`
    pub fn is_set(self) -> bool {
        matches!(self, BinaryOp::And | BinaryOp::Or | BinaryOp::Unless)
    }
}
