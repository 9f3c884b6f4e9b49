//! Buckets as spans: comparing and joining two layouts. Source: `expandIntSpansAndBuckets`, `expandSpansBothWays`,
//! `adjustForInserts` in `tsdb/chunkenc`, though by index instead of by lists of inserts.

use std::cmp::Ordering;

use model::Span;

/// The index of each bucket.
pub(crate) fn indexes(spans: &[Span]) -> impl Iterator<Item = i64> {
    let mut next = 0;
    spans.iter().flat_map(move |span| {
        let start = next + i64::from(span.offset);
        next = start + i64::from(span.length);
        start..next
    })
}

/// Buckets that the spans name.
pub(crate) fn bucket_count(spans: &[Span]) -> usize {
    spans.iter().map(|span| span.length as usize).sum()
}

/// Which of two layouts misses buckets of the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Missing {
    /// The chunk misses buckets of the new histogram.
    pub(crate) in_chunk: bool,
    /// The new histogram misses buckets of the chunk.
    pub(crate) in_new: bool,
}

/// Walks over the buckets of both, by index: what each has there.
fn walk<A, B>(
    chunk: impl Iterator<Item = (i64, A)>,
    new: impl Iterator<Item = (i64, B)>,
) -> impl Iterator<Item = (i64, Option<A>, Option<B>)> {
    let (mut chunk, mut new) = (chunk.peekable(), new.peekable());
    std::iter::from_fn(move || {
        let order = match (chunk.peek(), new.peek()) {
            (Some((a, _)), Some((b, _))) => a.cmp(b),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return None,
        };
        let a = chunk.next_if(|_| order.is_le());
        let b = new.next_if(|_| order.is_ge());
        let index = a.as_ref().map(|a| a.0).or(b.as_ref().map(|b| b.0))?;
        Some((index, a.map(|a| a.1), b.map(|b| b.1)))
    })
}

/// Compares the buckets of a chunk's last histogram with those of the next. `None`: a count became less, or a bucket that
/// counted something is gone, which is a counter reset.
pub(crate) fn compare<V: Copy + Default + PartialOrd>(
    chunk: (&[Span], impl Iterator<Item = V>),
    new: (&[Span], impl Iterator<Item = V>),
) -> Option<Missing> {
    let mut missing = Missing::default();
    for (_, before, now) in walk(indexes(chunk.0).zip(chunk.1), indexes(new.0).zip(new.1)) {
        match (before, now) {
            (Some(before), Some(now)) if before > now => return None,
            (Some(_), Some(_)) | (None, None) => {}
            (Some(before), None) if before == V::default() => missing.in_new = true,
            (Some(_), None) => return None,
            (None, Some(_)) => missing.in_chunk = true,
        }
    }
    Some(missing)
}

/// Compares layouts alone, for gauges.
pub(crate) fn compare_layouts(chunk: &[Span], new: &[Span]) -> Missing {
    let zeros = std::iter::repeat(0);
    compare((chunk, zeros.clone()), (new, zeros)).expect("equal counts are no reset")
}

/// The buckets of both, in as few spans as possible.
pub(crate) fn union(a: &[Span], b: &[Span]) -> Vec<Span> {
    let nothing = |index| (index, ());
    let mut spans: Vec<Span> = Vec::new();
    let mut next = 0;
    for (index, _, _) in walk(indexes(a).map(nothing), indexes(b).map(nothing)) {
        match spans.last_mut() {
            Some(span) if index == next => span.length += 1,
            // Differences are those of indexes of 32 bits, as in upstream.
            _ => spans.push(Span { offset: (index - next) as i32, length: 1 }),
        }
        next = index + 1;
    }
    spans
}

/// Absolute counts laid out anew; buckets that were not there count nothing.
pub(crate) fn spread<V: Copy + Default>(counts: impl Iterator<Item = V>, from: &[Span], to: &[Span]) -> Vec<V> {
    let to_all = indexes(to).map(|index| (index, ()));
    walk(indexes(from).zip(counts), to_all).map(|(_, count, _)| count.unwrap_or_default()).collect()
}
