//! Sorted sets of references.

/// Keeps of `a` what is in `b`.
pub(super) fn intersect(a: &mut Vec<u32>, b: &[u32]) {
    let mut rest = b;
    a.retain(|x| {
        rest = skip_below(rest, *x);
        rest.first() == Some(x)
    });
}

/// Keeps of `a` what is not in `b`.
pub(super) fn subtract(a: &mut Vec<u32>, b: &[u32]) {
    let mut rest = b;
    a.retain(|x| {
        rest = skip_below(rest, *x);
        rest.first() != Some(x)
    });
}

/// Whether some reference is in both.
pub(super) fn meet(a: &[u32], b: &[u32]) -> bool {
    let (mut short, mut long) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    while let (Some(x), Some(y)) = (short.first(), long.first()) {
        if x == y {
            return true;
        }
        if x < y {
            short = skip_below(short, *y);
        } else {
            long = skip_below(long, *x);
        }
    }
    false
}

/// What follows the elements below `x`: doubling steps, so that a short set runs through a long one quickly.
fn skip_below(set: &[u32], x: u32) -> &[u32] {
    let mut bound = 1;
    while bound < set.len() && set[bound] < x {
        bound *= 2;
    }
    let from = bound / 2;
    let to = (bound + 1).min(set.len());
    &set[from + set[from..to].partition_point(|y| *y < x)..]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn sets_are_sets(a in prop::collection::btree_set(0u32..200, 0..60), b in prop::collection::btree_set(0u32..400, 0..200)) {
            let (va, vb): (Vec<u32>, Vec<u32>) = (a.iter().copied().collect(), b.iter().copied().collect());
            let naive = |set: BTreeSet<u32>| set.into_iter().collect::<Vec<_>>();
            let (mut both, mut rest) = (va.clone(), va.clone());
            intersect(&mut both, &vb);
            subtract(&mut rest, &vb);
            prop_assert_eq!(&both, &naive(&a & &b));
            prop_assert_eq!(rest, naive(&a - &b));
            prop_assert_eq!(meet(&va, &vb), !both.is_empty());
        }
    }
}
