//! A second evaluator, for tests: step by step, series by series, straight from the samples, with nothing of the engine. It is
//! written to be read beside Prometheus' documentation, and is as slow as that makes it. Floats only, names dropped at once.

mod functions;
mod grammar;
mod windows;

use std::cell::RefCell;
use std::collections::BTreeMap;

use model::{Labels, LabelsBuilder, Matcher};

use crate::ast::{
    Aggregate, AggregateOp, AtModifier, Binary, BinaryOp, Cardinality, DurationExpr, DurationNode, DurationNodeKind,
    Edges, Expr, ExprKind, Grouping, UnaryOp, VectorMatching, VectorSelector,
};

pub(crate) use grammar::{Grammar, Random};

/// An element of a vector.
#[derive(Clone, Debug)]
pub(crate) struct Element {
    pub(crate) labels: Labels,
    pub(crate) v: f64,
}

/// What an expression gives at one step.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Number(f64),
    Vector(Vec<Element>),
}

pub(crate) type Evaluated<T> = Result<T, String>;

/// The series, and the query's times in milliseconds.
pub(crate) struct Naive<'a> {
    pub(crate) series: &'a [(Labels, Vec<(i64, f64)>)],
    pub(crate) start: i64,
    pub(crate) end: i64,
    /// 0 in an instant query.
    pub(crate) step: i64,
    pub(crate) lookback: i64,
    pub(crate) subquery_step: i64,
    /// Of each function of windows, by where it stands: the result's labels, and those of the series that it was made of. Two that
    /// make the same are an error even where they never meet.
    pub(crate) named: RefCell<BTreeMap<(usize, Labels), Labels>>,
}

impl Naive<'_> {
    /// The vectors of all steps; a number is an element without labels.
    pub(crate) fn query(&self, expr: &Expr) -> Evaluated<Vec<(i64, Vec<Element>)>> {
        let mut steps = Vec::new();
        let mut t = self.start;
        while t <= self.end {
            let vector = match self.eval(expr, t)? {
                Value::Number(v) => vec![Element { labels: Labels::empty(), v }],
                Value::Vector(vector) => vector,
            };
            steps.push((t, vector));
            t += self.step.max(1);
            if self.step == 0 {
                break;
            }
        }
        Ok(steps)
    }

    pub(crate) fn eval(&self, expr: &Expr, t: i64) -> Evaluated<Value> {
        match &expr.kind {
            ExprKind::Paren(inner) | ExprKind::Unary(UnaryOp::Plus, inner) => self.eval(inner, t),
            ExprKind::Number(number) => Ok(Value::Number(number.value)),
            ExprKind::Unary(UnaryOp::Minus, inner) => match self.eval(inner, t)? {
                Value::Number(v) => Ok(Value::Number(-v)),
                Value::Vector(vector) => unnamed(vector, |v| Some(-v)),
            },
            ExprKind::Vector(selector) => Ok(Value::Vector(self.select(selector, t))),
            ExprKind::Aggregate(aggregate) => self.aggregate(aggregate, t),
            ExprKind::Binary(binary) => self.binary(binary, t),
            ExprKind::Call(call) => self.call(call, t),
            other => Err(format!("no value of its own: {other:?}")),
        }
    }

    pub(crate) fn number(&self, expr: &Expr, t: i64) -> Evaluated<f64> {
        match self.eval(expr, t)? {
            Value::Number(v) => Ok(v),
            Value::Vector(_) => Err("no number".to_owned()),
        }
    }

    pub(crate) fn vector(&self, expr: &Expr, t: i64) -> Evaluated<Vec<Element>> {
        match self.eval(expr, t)? {
            Value::Vector(vector) => Ok(vector),
            Value::Number(_) => Err("no vector".to_owned()),
        }
    }

    /// The time that a selector looks back from.
    pub(crate) fn moved(&self, at: Option<AtModifier>, offset: Option<&DurationExpr>, t: i64) -> i64 {
        let from = match at {
            None => t,
            Some(AtModifier::Timestamp(at)) => at,
            Some(AtModifier::Start) => self.start,
            Some(AtModifier::End) => self.end,
        };
        from - offset.map_or(0, |offset| self.duration(offset))
    }

    #[expect(clippy::cast_possible_truncation, reason = "durations of a test")]
    pub(crate) fn duration(&self, duration: &DurationExpr) -> i64 {
        match duration {
            DurationExpr::Literal(ms) => ms.0,
            DurationExpr::Computed(node) => (self.seconds(node) * 1000.0) as i64,
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "times of a test")]
    fn seconds(&self, node: &DurationNode) -> f64 {
        match &node.kind {
            DurationNodeKind::Number(number) => number.value,
            DurationNodeKind::Step => self.step as f64 / 1000.0,
            DurationNodeKind::Range => (self.end - self.start) as f64 / 1000.0,
            DurationNodeKind::MinOf(a, b) => self.seconds(a).min(self.seconds(b)),
            DurationNodeKind::MaxOf(a, b) => self.seconds(a).max(self.seconds(b)),
            DurationNodeKind::Unary(UnaryOp::Plus, a) | DurationNodeKind::Paren(a) => self.seconds(a),
            DurationNodeKind::Unary(UnaryOp::Minus, a) => -self.seconds(a),
            DurationNodeKind::Binary(op, a, b) => arithmetic(*op, self.seconds(a), self.seconds(b)),
        }
    }

    /// The series that satisfy all conditions.
    pub(crate) fn matching<'s>(
        &'s self,
        matchers: &'s [Matcher],
    ) -> impl Iterator<Item = &'s (Labels, Vec<(i64, f64)>)> {
        self.series
            .iter()
            .filter(move |(labels, _)| matchers.iter().all(|m| m.matches(labels.get(m.name()).unwrap_or(""))))
    }

    /// An instant vector: of each series the newest sample, unless it is too old or says that the series has ended.
    fn select(&self, selector: &VectorSelector, t: i64) -> Vec<Element> {
        let at = self.moved(selector.at, selector.offset.as_ref(), t);
        let value = |samples: &[(i64, f64)]| {
            if selector.edges == Edges::Smoothed {
                return self.smoothed(samples, at);
            }
            let (_, v) = self.newest(samples, at)?;
            Some(v)
        };
        let found = self.matching(&selector.matchers);
        found.filter_map(|(labels, samples)| Some(Element { labels: labels.clone(), v: value(samples)? })).collect()
    }

    pub(crate) fn newest(&self, samples: &[(i64, f64)], at: i64) -> Option<(i64, f64)> {
        let newest = samples.iter().rev().find(|(t, _)| *t <= at)?;
        (newest.0 > at - self.lookback && !model::is_stale(newest.1)).then_some(*newest)
    }

    fn smoothed(&self, samples: &[(i64, f64)], at: i64) -> Option<f64> {
        let near =
            samples.iter().filter(|(t, v)| *t > at - self.lookback && *t <= at + self.lookback && !model::is_stale(*v));
        let (before, after): (Vec<_>, Vec<_>) = near.partition(|(t, _)| *t < at);
        match (before.last(), after.first()) {
            (_, Some((t, v))) if *t == at => Some(*v),
            (Some(a), Some(b)) => Some(windows::on_line(*a, *b, at)),
            (Some((_, v)), None) => Some(*v),
            (None, _) => None,
        }
    }

    fn binary(&self, binary: &Binary, t: i64) -> Evaluated<Value> {
        let (lhs, rhs) = (self.eval(&binary.lhs, t)?, self.eval(&binary.rhs, t)?);
        let op = binary.op;
        let is_comparison = op.is_comparison();
        match (lhs, rhs) {
            (Value::Number(a), Value::Number(b)) => Ok(Value::Number(arithmetic(op, a, b))),
            (Value::Vector(a), Value::Vector(b)) => {
                let matching = binary.matching.clone().unwrap_or_default();
                match op {
                    BinaryOp::And | BinaryOp::Or | BinaryOp::Unless => unique(set(op, a, b, &matching)),
                    _ => join(op, a, b, &matching, binary.return_bool),
                }
            }
            (Value::Vector(vector), Value::Number(b)) if is_comparison && !binary.return_bool => {
                Ok(Value::Vector(vector.into_iter().filter(|a| arithmetic(op, a.v, b) == 1.0).collect()))
            }
            (Value::Number(a), Value::Vector(vector)) if is_comparison && !binary.return_bool => {
                Ok(Value::Vector(vector.into_iter().filter(|b| arithmetic(op, a, b.v) == 1.0).collect()))
            }
            (Value::Vector(vector), Value::Number(b)) => unnamed(vector, |a| Some(arithmetic(op, a, b))),
            (Value::Number(a), Value::Vector(vector)) => unnamed(vector, |b| Some(arithmetic(op, a, b))),
        }
    }

    fn aggregate(&self, aggregate: &Aggregate, t: i64) -> Evaluated<Value> {
        let input = self.vector(&aggregate.expr, t)?;
        let param = |naive: &Self| match &aggregate.param {
            Some(param) => naive.number(param, t),
            None => Ok(0.0),
        };
        if aggregate.op == AggregateOp::CountValues {
            let Some(ExprKind::String(label)) = aggregate.param.as_deref().map(|p| &p.kind) else {
                return Err("no label".to_owned());
            };
            return Ok(Value::Vector(count_values(&label.text, &aggregate.grouping, input)));
        }
        let param = param(self)?;
        let mut out = Vec::new();
        for (labels, group) in groups(&aggregate.grouping, input) {
            match aggregate.op {
                AggregateOp::Topk | AggregateOp::Bottomk => out.extend(best(aggregate.op, param, group)),
                AggregateOp::LimitRatio => out.extend(group.into_iter().filter(|e| is_sampled(param, &e.labels))),
                op => {
                    let values: Vec<f64> = group.iter().map(|e| e.v).collect();
                    out.push(Element { labels, v: functions::aggregated(op, param, &values) });
                }
            }
        }
        Ok(Value::Vector(out))
    }
}

/// Operators between numbers; comparisons give 1 or 0.
pub(crate) fn arithmetic(op: BinaryOp, a: f64, b: f64) -> f64 {
    let truth = |holds: bool| if holds { 1.0 } else { 0.0 };
    match op {
        BinaryOp::Add => a + b,
        BinaryOp::Sub => a - b,
        BinaryOp::Mul => a * b,
        BinaryOp::Div => a / b,
        BinaryOp::Mod => a % b,
        BinaryOp::Pow => a.powf(b),
        BinaryOp::Atan2 => a.atan2(b),
        BinaryOp::Eql => truth(a == b),
        BinaryOp::Neq => truth(a != b),
        BinaryOp::Lte => truth(a <= b),
        BinaryOp::Lss => truth(a < b),
        BinaryOp::Gte => truth(a >= b),
        BinaryOp::Gtr => truth(a > b),
        BinaryOp::And | BinaryOp::Or | BinaryOp::Unless | BinaryOp::TrimUpper | BinaryOp::TrimLower => f64::NAN,
    }
}

/// `labels` without those for which `drop` holds.
pub(crate) fn dropped(labels: &Labels, drop: impl Fn(&str) -> bool) -> Labels {
    Labels::from_pairs(labels.iter().filter(|l| !drop(l.name)).map(|l| (l.name, l.value))).unwrap()
}

pub(crate) fn without_name(labels: &Labels) -> Labels {
    dropped(labels, |name| ["__name__", "__type__", "__unit__"].contains(&name))
}

/// `f` of each value, as something that is no longer the metric itself.
pub(crate) fn unnamed(vector: Vec<Element>, f: impl Fn(f64) -> Option<f64>) -> Evaluated<Value> {
    let new = vector.iter().filter_map(|e| Some(Element { labels: without_name(&e.labels), v: f(e.v)? }));
    unique(new.collect())
}

/// An error where two elements have the same labels.
pub(crate) fn unique(vector: Vec<Element>) -> Evaluated<Value> {
    let mut labels: Vec<&Labels> = vector.iter().map(|e| &e.labels).collect();
    labels.sort();
    if labels.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err("vector cannot contain metrics with the same labelset".to_owned());
    }
    Ok(Value::Vector(vector))
}

/// The labels by which elements meet.
fn signature(labels: &Labels, matching: &VectorMatching) -> Labels {
    let named = |name: &str| matching.labels.iter().any(|l| l == name);
    dropped(labels, |name| if matching.on { !named(name) } else { named(name) || name == "__name__" })
}

fn set(op: BinaryOp, lhs: Vec<Element>, rhs: Vec<Element>, matching: &VectorMatching) -> Vec<Element> {
    let meets = |e: &Element, others: &[Element]| {
        others.iter().any(|o| signature(&o.labels, matching) == signature(&e.labels, matching))
    };
    match op {
        BinaryOp::And => lhs.into_iter().filter(|e| meets(e, &rhs)).collect(),
        BinaryOp::Unless => lhs.into_iter().filter(|e| !meets(e, &rhs)).collect(),
        _ => {
            let others: Vec<Element> = rhs.into_iter().filter(|e| !meets(e, &lhs)).collect();
            lhs.into_iter().chain(others).collect()
        }
    }
}

/// Arithmetic and comparisons between vectors.
fn join(
    op: BinaryOp,
    lhs: Vec<Element>,
    rhs: Vec<Element>,
    matching: &VectorMatching,
    return_bool: bool,
) -> Evaluated<Value> {
    let fills = matching.fill_left.is_some() || matching.fill_right.is_some();
    if lhs.is_empty() && rhs.is_empty() || (lhs.is_empty() || rhs.is_empty()) && !fills {
        return Ok(Value::Vector(Vec::new()));
    }
    let swapped = matching.cardinality == Cardinality::OneToMany;
    let (many, one) = if swapped { (rhs, lhs) } else { (lhs, rhs) };
    let mut one_of: BTreeMap<Labels, &Element> = BTreeMap::new();
    for e in &one {
        if one_of.insert(signature(&e.labels, matching), e).is_some() {
            return Err("many-to-many matching not allowed".to_owned());
        }
    }
    let mut matched: BTreeMap<Labels, Vec<Labels>> = BTreeMap::new();
    let mut out = Vec::new();
    let mut meet = |many: &Element, one: &Element, group: Labels| -> Evaluated<()> {
        let labels = joined_labels(op, &many.labels, &one.labels, matching, return_bool);
        let known = matched.entry(group).or_default();
        if matching.cardinality == Cardinality::OneToOne && !known.is_empty() || known.contains(&labels) {
            return Err("multiple matches for labels".to_owned());
        }
        known.push(labels.clone());
        let (a, b) = if swapped { (one.v, many.v) } else { (many.v, one.v) };
        let result = arithmetic(op, a, b);
        if !op.is_comparison() || return_bool {
            out.push(Element { labels, v: result });
        } else if result == 1.0 {
            out.push(Element { labels, v: a });
        }
        Ok(())
    };
    for e in &many {
        let group = signature(&e.labels, matching);
        match (one_of.get(&group), matching.fill_right) {
            (Some(one), _) => meet(e, one, group)?,
            (None, Some(fill)) => meet(e, &Element { labels: group.clone(), v: fill }, group)?,
            (None, None) => {}
        }
    }
    if let Some(fill) = matching.fill_left {
        let groups: Vec<Labels> = many.iter().map(|e| signature(&e.labels, matching)).collect();
        for e in &one {
            let group = signature(&e.labels, matching);
            if !groups.contains(&group) {
                meet(&Element { labels: group.clone(), v: fill }, e, group)?;
            }
        }
    }
    unique(out)
}

fn joined_labels(op: BinaryOp, many: &Labels, one: &Labels, matching: &VectorMatching, return_bool: bool) -> Labels {
    let mut labels = if !op.is_comparison() || return_bool { without_name(many) } else { many.clone() };
    if matching.cardinality == Cardinality::OneToOne {
        let named = |name: &str| matching.labels.iter().any(|l| l == name);
        labels = dropped(&labels, |name| named(name) != matching.on);
    }
    let mut builder = LabelsBuilder::from_labels(&labels);
    for name in &matching.include {
        builder.set(name, one.get(name).unwrap_or(""));
    }
    builder.build()
}

/// The elements by group, in order of the group's labels.
fn groups(grouping: &Grouping, input: Vec<Element>) -> BTreeMap<Labels, Vec<Element>> {
    let mut groups: BTreeMap<Labels, Vec<Element>> = BTreeMap::new();
    let named = |name: &str| grouping.labels.iter().any(|l| l == name);
    for e in input {
        let labels =
            dropped(&e.labels, |name| if grouping.without { named(name) || name == "__name__" } else { !named(name) });
        groups.entry(labels).or_default().push(e);
    }
    groups
}

fn count_values(label: &str, grouping: &Grouping, input: Vec<Element>) -> Vec<Element> {
    let mut counts: BTreeMap<Labels, f64> = BTreeMap::new();
    for (labels, group) in groups(grouping, input) {
        for e in group {
            let mut builder = LabelsBuilder::from_labels(&labels);
            builder.set(label, &functions::written(e.v));
            *counts.entry(builder.build()).or_default() += 1.0;
        }
    }
    counts.into_iter().map(|(labels, v)| Element { labels, v }).collect()
}

/// The `k` best elements; NaN is worse than anything. Of equal values any may be chosen, so the grammar makes none.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts of a test")]
fn best(op: AggregateOp, k: f64, mut group: Vec<Element>) -> Vec<Element> {
    let key = |e: &Element| if op == AggregateOp::Topk { -e.v } else { e.v };
    group.sort_by(|a, b| a.v.is_nan().cmp(&b.v.is_nan()).then(key(a).total_cmp(&key(b))));
    group.truncate(if k < 1.0 { 0 } else { k as usize });
    group
}

/// Whether `limit_ratio` takes a series: by the hash of its labels, each text with its length in front.
#[expect(clippy::cast_precision_loss, reason = "Prometheus divides floats too")]
fn is_sampled(ratio: f64, labels: &Labels) -> bool {
    let mut bytes = Vec::new();
    for text in labels.iter().flat_map(|l| [l.name, l.value]) {
        bytes.push(u8::try_from(text.len()).unwrap());
        bytes.extend_from_slice(text.as_bytes());
    }
    let offset = xxhash_rust::xxh64::xxh64(&bytes, 0) as f64 / u64::MAX as f64;
    if ratio >= 0.0 { offset < ratio } else { offset >= 1.0 + ratio }
}
