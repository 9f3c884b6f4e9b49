//! Whether two answers are the same: label sets equal, values within a relative bound, NaN equal to NaN.

use std::collections::BTreeMap;

use crate::api::{Answer, Labels, Points};

/// The relative difference that two correct programs may have: they add in different orders.
pub const RELATIVE_MAX: f64 = 1e-12;

/// Whether the order of series counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// As a query whose outermost function sorts.
    Counts,
    /// As any other.
    Free,
}

/// How the answers differ; none where they do not.
pub fn difference(ours: &Answer, theirs: &Answer, order: Order) -> Option<String> {
    match (ours, theirs) {
        (Answer::Vector(ours), Answer::Vector(theirs)) | (Answer::Matrix(ours), Answer::Matrix(theirs)) => {
            match order {
                Order::Counts => ordered(ours, theirs),
                Order::Free => unordered(ours, theirs),
            }
        }
        (Answer::Scalar(our_time, ours), Answer::Scalar(their_time, theirs)) => {
            (our_time != their_time || !equal(*ours, *theirs)).then(|| format!("{ours:?} and {theirs:?}"))
        }
        (Answer::String(..), Answer::String(..)) => (ours != theirs).then(|| format!("{ours:?} and {theirs:?}")),
        _ => Some("the answers are of different types".to_string()),
    }
}

/// An annotation without the count of samples: of a range query, Prometheus counts those of earlier steps anew at each.
pub fn without_count(annotation: &str) -> String {
    match (annotation.split_once(", over "), annotation.split_once(" samples from ")) {
        (Some((before, _)), Some((_, after))) => format!("{before}, over samples from {after}"),
        _ => annotation.to_string(),
    }
}

/// Whether two values are the same, but for rounding.
pub fn equal(a: f64, b: f64) -> bool {
    if a.is_nan() || b.is_nan() {
        return a.is_nan() && b.is_nan();
    }
    a == b || (a - b).abs() <= RELATIVE_MAX * a.abs().max(b.abs())
}

fn ordered(ours: &[Points], theirs: &[Points]) -> Option<String> {
    let names = |series: &[Points]| series.iter().map(|one| one.labels.clone()).collect::<Vec<_>>();
    let (our_names, their_names) = (names(ours), names(theirs));
    if our_names != their_names {
        return Some(format!("another order: {our_names:?} and {their_names:?}"));
    }
    ours.iter().zip(theirs).find_map(|(a, b)| points(a, b))
}

fn unordered(ours: &[Points], theirs: &[Points]) -> Option<String> {
    let by_labels = |series: &[Points]| -> Result<BTreeMap<Labels, Points>, String> {
        let mut map = BTreeMap::new();
        for one in series {
            if map.insert(one.labels.clone(), one.clone()).is_some() {
                return Err(format!("twice: {:?}", one.labels));
            }
        }
        Ok(map)
    };
    let (ours, theirs) = match (by_labels(ours), by_labels(theirs)) {
        (Ok(ours), Ok(theirs)) => (ours, theirs),
        (Err(why), _) | (_, Err(why)) => return Some(why),
    };
    if let Some(labels) = ours.keys().find(|labels| !theirs.contains_key(*labels)) {
        return Some(format!("only we have {labels:?} ({} series and {})", ours.len(), theirs.len()));
    }
    for (labels, b) in &theirs {
        let Some(a) = ours.get(labels) else {
            return Some(format!("only they have {labels:?} ({} series and {})", ours.len(), theirs.len()));
        };
        if let Some(why) = points(a, b) {
            return Some(why);
        }
    }
    None
}

fn points(a: &Points, b: &Points) -> Option<String> {
    let times = |one: &Points| one.samples.iter().map(|sample| sample.0).collect::<Vec<_>>();
    if times(a) != times(b) {
        let differing = times(a).into_iter().zip(times(b)).find(|(x, y)| x != y);
        let counts = (a.samples.len(), b.samples.len());
        return Some(format!("{:?}: other times: {counts:?} samples, first differing {differing:?}", a.labels));
    }
    let differs = a.samples.iter().zip(&b.samples).find(|(x, y)| !equal(x.1, y.1))?;
    Some(format!("{:?}: at {} {:?} and {:?}", a.labels, differs.0.0, differs.0.1, differs.1.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(values: &[(&str, f64)]) -> Answer {
        let one = |&(name, value): &(&str, f64)| Points {
            labels: Labels::from([("a".to_string(), name.to_string())]),
            samples: vec![(5, value)],
        };
        Answer::Vector(values.iter().map(one).collect())
    }

    #[test]
    fn order_rounding_and_nan_are_told_apart_from_differences() {
        let base = vector(&[("x", 1.0), ("y", f64::NAN)]);
        let check = |other: &[(&str, f64)], order| difference(&base, &vector(other), order).is_none();
        assert!(check(&[("y", f64::NAN), ("x", 1.0 + 1e-13)], Order::Free));
        assert!(!check(&[("y", f64::NAN), ("x", 1.0)], Order::Counts));
        assert!(!check(&[("x", 1.0 + 1e-11), ("y", f64::NAN)], Order::Free));
        assert!(!check(&[("x", 1.0), ("y", 0.0)], Order::Free));
        assert!(!check(&[("x", 1.0)], Order::Free));
        assert!(!check(&[("x", 1.0), ("y", f64::NAN), ("z", 1.0)], Order::Free));
    }
}
