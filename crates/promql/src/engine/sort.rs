//! `sort` and its kin.

use std::cmp::Ordering;

use super::node::SortBy;
use super::row::Row;

/// Orders the rows of an instant vector.
pub(crate) fn sort(rows: &mut [Row], by: &SortBy, descending: bool) {
    match by {
        SortBy::Value => rows.sort_by(|a, b| {
            let (a, b) = (a.values[0], b.values[0]);
            // NaN comes last either way.
            match (a.is_nan(), b.is_nan()) {
                (true, true) => Ordering::Equal,
                (true, false) => Ordering::Greater,
                (false, true) => Ordering::Less,
                (false, false) => {
                    let order = a.partial_cmp(&b).expect("neither is NaN");
                    if descending { order.reverse() } else { order }
                }
            }
        }),
        SortBy::Labels(names) => rows.sort_by(|a, b| {
            let (a, b) = (&a.key.labels, &b.key.labels);
            let by_names = names.iter().map(|name| natural(a.get(name).unwrap_or(""), b.get(name).unwrap_or("")));
            let order = by_names.fold(Ordering::Equal, Ordering::then).then_with(|| a.cmp(b));
            if descending { order.reverse() } else { order }
        }),
    }
}

/// Digits of a text compare as a number. Source: `facette/natsort`, which Prometheus uses.
fn natural(a: &str, b: &str) -> Ordering {
    if a == b {
        return Ordering::Equal;
    }
    let (mut a, mut b) = (parts(a), parts(b));
    loop {
        let (x, y) = match (a.next(), b.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some(x), Some(y)) => (x, y),
        };
        let order = match (x.parse::<i64>(), y.parse::<i64>()) {
            (Ok(m), Ok(n)) => m.cmp(&n),
            _ => x.cmp(y),
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

/// Runs of digits and of anything else.
fn parts(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let is_digit = rest.chars().next()?.is_ascii_digit();
        let end = rest.find(|c: char| c.is_ascii_digit() != is_digit).unwrap_or(rest.len());
        let (part, after) = rest.split_at(end);
        rest = after;
        Some(part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_within_texts_compare_as_numbers() {
        let mut texts = ["cpu10", "cpu2", "cpu", "4m1000", "4m600", "", "cpu2a"];
        texts.sort_by(|a, b| natural(a, b));
        assert_eq!(texts, ["", "4m600", "4m1000", "cpu", "cpu2", "cpu2a", "cpu10"]);
    }
}
