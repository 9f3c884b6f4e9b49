//! The order in which `yaml.v2` prints the keys of a map: letters after everything else, runs of digits by value.

use std::cmp::Ordering;

/// Compares two keys.
pub(super) fn compare(a: &str, b: &str) -> Ordering {
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    let Some(i) = a.iter().zip(&b).position(|(x, y)| x != y) else { return a.len().cmp(&b.len()) };
    let (x, y) = (a[i], b[i]);
    match (x.is_alphabetic(), y.is_alphabetic()) {
        (true, true) => return x.cmp(&y),
        (true, false) => return Ordering::Greater,
        (false, true) => return Ordering::Less,
        (false, false) => {}
    }
    // A zero behind other digits is part of their number, not a leading one.
    let inside_a_number =
        (x == '0' || y == '0') && a[..i].iter().rev().take_while(|c| c.is_ascii_digit()).any(|c| *c != '0');
    let start = i64::from(inside_a_number);
    let number = |text: &[char]| {
        text[i..]
            .iter()
            .map_while(|c| c.to_digit(10))
            .fold((start, 0usize), |(n, len), d| (n.wrapping_mul(10).wrapping_add(i64::from(d)), len + 1))
    };
    number(&a).cmp(&number(&b)).then(x.cmp(&y))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_count_as_numbers_and_letters_come_last() {
        let in_order = [
            "_a", "0", "00", "1", "2", "10", "B", "a-b", "a_b", "a1", "a01", "a001", "a2", "a10", "a100", "a1a", "a1b",
            "aa", "ab", "b", "é",
        ];
        assert!(in_order.is_sorted_by(|a, b| compare(a, b).is_lt()), "{in_order:?}");
    }
}
