//! The tree of an expression as JSON, for `/api/v1/parse_query`.
//!
//! Source: Prometheus `web/api/v1/translate_ast.go` at v3.14.0.

use model::Matcher;
use serde_json::{Value, json};

use crate::ast::{
    AtModifier, Cardinality, DurationExpr, DurationNode, DurationNodeKind, Edges, Expr, ExprKind, VectorMatching,
    VectorSelector,
};
use crate::duration::NO_DURATION;
use crate::functions;
use crate::numbers;

/// A tree that JSON cannot hold: a fill value is infinite or not a number.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("unsupported value: {}", numbers::format_g(*value))]
pub struct TreeError {
    /// The value.
    pub value: f64,
}

/// The tree of `expr`.
pub fn tree_json(expr: &Expr) -> Result<Value, TreeError> {
    Ok(match &expr.kind {
        ExprKind::Aggregate(a) => object([
            ("type", json!("aggregation")),
            ("op", json!(a.op.as_str())),
            ("expr", tree_json(&a.expr)?),
            ("param", a.param.as_ref().map_or(Ok(Value::Null), |p| tree_json(p))?),
            ("grouping", json!(a.grouping.labels)),
            ("without", json!(a.grouping.without)),
        ]),
        ExprKind::Binary(b) => object([
            ("type", json!("binaryExpr")),
            ("op", json!(b.op.as_str())),
            ("lhs", tree_json(&b.lhs)?),
            ("rhs", tree_json(&b.rhs)?),
            ("matching", b.matching.as_ref().map_or(Ok(Value::Null), matching)?),
            ("bool", json!(b.return_bool)),
        ]),
        ExprKind::Call(c) => object([
            ("type", json!("call")),
            ("func", function(c.function)),
            ("args", Value::Array(c.args.iter().map(tree_json).collect::<Result<_, _>>()?)),
        ]),
        ExprKind::Matrix(m) => {
            let mut value = selector("matrixSelector", &m.selector);
            value["range"] = json!(millis(Some(&m.range)));
            value["rangeExpr"] = computed(Some(&m.range));
            value
        }
        ExprKind::Subquery(s) => object([
            ("type", json!("subquery")),
            ("expr", tree_json(&s.expr)?),
            ("range", json!(millis(Some(&s.range)))),
            ("rangeExpr", computed(Some(&s.range))),
            ("offset", json!(millis(s.offset.as_ref()))),
            ("offsetExpr", computed(s.offset.as_ref())),
            ("step", json!(millis(s.step.as_ref()))),
            ("stepExpr", computed(s.step.as_ref())),
            ("timestamp", json!(timestamp(s.at))),
            ("startOrEnd", json!(start_or_end(s.at))),
        ]),
        ExprKind::Number(n) => json!({ "type": "numberLiteral", "val": numbers::format_f(n.value) }),
        ExprKind::Paren(inner) => object([("type", json!("parenExpr")), ("expr", tree_json(inner)?)]),
        ExprKind::String(s) => json!({ "type": "stringLiteral", "val": s.text }),
        ExprKind::Unary(op, inner) => {
            object([("type", json!("unaryExpr")), ("op", json!(op.as_str())), ("expr", tree_json(inner)?)])
        }
        ExprKind::Vector(v) => selector("vectorSelector", v),
    })
}

/// An object. Unlike `json!`, this does not copy the values, which would be quadratic in the depth of the tree.
fn object<const N: usize>(fields: [(&str, Value); N]) -> Value {
    Value::Object(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

fn matching(matching: &VectorMatching) -> Result<Value, TreeError> {
    let card = match matching.cardinality {
        Cardinality::OneToOne => "one-to-one",
        Cardinality::ManyToOne => "many-to-one",
        Cardinality::OneToMany => "one-to-many",
        Cardinality::ManyToMany => "many-to-many",
    };
    let mut fills = [matching.fill_left, matching.fill_right].into_iter().flatten();
    if let Some(value) = fills.find(|v| !v.is_finite()) {
        return Err(TreeError { value });
    }
    Ok(json!({
        "card": card,
        "labels": matching.labels,
        "on": matching.on,
        "include": matching.include,
        "fillValues": { "lhs": matching.fill_left.map(number), "rhs": matching.fill_right.map(number) },
    }))
}

/// A number as Go writes it: without a fraction where it has none.
fn number(f: f64) -> Value {
    let is_whole = f.fract() == 0.0 && f.abs() < 1e15 && !(f == 0.0 && f.is_sign_negative());
    if is_whole { json!(numbers::to_i64(f)) } else { json!(f) }
}

fn function(name: &str) -> Value {
    let Some(function) = functions::function(name) else { return Value::Null };
    let arg_types: Vec<&str> = function.args.iter().map(|t| t.name()).collect();
    json!({
        "name": function.name,
        "argTypes": arg_types,
        "variadic": function.variadic_number(),
        "returnType": function.returns.name(),
    })
}

fn selector(kind: &str, vector: &VectorSelector) -> Value {
    let matcher = |m: &Matcher| json!({ "name": m.name(), "value": m.value(), "type": m.op().as_str() });
    let matchers = vector.matchers.iter().map(matcher);
    object([
        ("type", json!(kind)),
        ("name", json!(vector.name)),
        ("offset", json!(millis(vector.offset.as_ref()))),
        ("offsetExpr", computed(vector.offset.as_ref())),
        ("matchers", Value::Array(matchers.collect())),
        ("timestamp", json!(timestamp(vector.at))),
        ("startOrEnd", json!(start_or_end(vector.at))),
        ("anchored", json!(vector.edges == Edges::Anchored)),
        ("smoothed", json!(vector.edges == Edges::Smoothed)),
    ])
}

/// Milliseconds of a literal, zero for an expression.
fn millis(duration: Option<&DurationExpr>) -> i64 {
    match duration {
        Some(DurationExpr::Literal(NO_DURATION)) => NO_DURATION.0 + 1,
        Some(DurationExpr::Literal(d)) => d.0,
        Some(DurationExpr::Computed(_)) | None => 0,
    }
}

fn computed(duration: Option<&DurationExpr>) -> Value {
    match duration {
        Some(DurationExpr::Computed(node)) => duration_node(node, Wrapped::No),
        Some(DurationExpr::Literal(_)) | None => Value::Null,
    }
}

/// Whether parentheses stand around a duration.
#[derive(Clone, Copy, PartialEq)]
enum Wrapped {
    No,
    Yes,
}

fn duration_node(node: &DurationNode, wrapped: Wrapped) -> Value {
    let tree = |n: &DurationNode| duration_node(n, Wrapped::No);
    let (op, lhs, rhs) = match &node.kind {
        DurationNodeKind::Number(n) => {
            let val = numbers::format_f(n.value);
            return json!({ "type": "numberLiteral", "val": val, "duration": n.is_duration });
        }
        DurationNodeKind::Paren(inner) => return duration_node(inner, Wrapped::Yes),
        DurationNodeKind::Step => ("step", Value::Null, Value::Null),
        DurationNodeKind::Range => ("range", Value::Null, Value::Null),
        DurationNodeKind::MinOf(a, b) => ("min_of", tree(a), tree(b)),
        DurationNodeKind::MaxOf(a, b) => ("max_of", tree(a), tree(b)),
        DurationNodeKind::Unary(op, inner) => (op.as_str(), Value::Null, tree(inner)),
        DurationNodeKind::Binary(op, a, b) => (op.as_str(), tree(a), tree(b)),
    };
    object([
        ("type", json!("durationExpr")),
        ("op", json!(op)),
        ("lhs", lhs),
        ("rhs", rhs),
        ("wrapped", json!(wrapped == Wrapped::Yes)),
    ])
}

fn timestamp(at: Option<AtModifier>) -> Option<i64> {
    match at {
        Some(AtModifier::Timestamp(ms)) => Some(ms),
        Some(AtModifier::Start | AtModifier::End) | None => None,
    }
}

fn start_or_end(at: Option<AtModifier>) -> Option<&'static str> {
    match at {
        Some(AtModifier::Start) => Some("start"),
        Some(AtModifier::End) => Some("end"),
        Some(AtModifier::Timestamp(_)) | None => None,
    }
}
