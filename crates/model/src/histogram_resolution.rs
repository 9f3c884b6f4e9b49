//! Histograms of a coarser resolution. Source: Prometheus `reduceResolution` in `model/histogram/generic.go`.

use crate::{HistogramError, Span, SpanSide};

/// Counts of buckets: `i64` are differences to the bucket before, `f64` are absolute.
pub trait BucketCount: Copy {
    /// Turns differences into counts, in place.
    fn to_absolute(buckets: &mut [Self]);
    /// Undoes it.
    fn from_absolute(buckets: &mut [Self]);
    /// Adds two absolute counts.
    fn plus(self, other: Self) -> Self;
}

impl BucketCount for i64 {
    fn to_absolute(buckets: &mut [i64]) {
        let mut count = 0i64;
        for bucket in buckets {
            count = count.wrapping_add(*bucket);
            *bucket = count;
        }
    }

    fn from_absolute(buckets: &mut [i64]) {
        let mut before = 0i64;
        for bucket in buckets {
            (before, *bucket) = (*bucket, bucket.wrapping_sub(before));
        }
    }

    fn plus(self, other: i64) -> i64 {
        self.wrapping_add(other)
    }
}

impl BucketCount for f64 {
    fn to_absolute(_: &mut [f64]) {}

    fn from_absolute(_: &mut [f64]) {}

    fn plus(self, other: f64) -> f64 {
        self + other
    }
}

/// Merges the buckets of one side of an exponential histogram of schema `from` into those of the coarser schema `to`.
/// Fails where there are not as many buckets as the spans say, or a span but the first goes back.
pub fn reduce_resolution<B: BucketCount>(
    spans: &mut Vec<Span>,
    buckets: &mut Vec<B>,
    from: i32,
    to: i32,
) -> Result<(), HistogramError> {
    assert!(to < from, "schema {to} is not coarser than {from}");
    crate::histogram_validation::check_spans(spans, buckets.len(), SpanSide::Unnamed)?;
    B::to_absolute(buckets);
    let mut merged_spans: Vec<Span> = Vec::new();
    let mut merged: Vec<B> = Vec::new();
    let mut last = 0;
    for (index, count) in bucket_indexes(spans).zip(buckets.iter()) {
        let target = coarser_index(index, from, to);
        match merged.last_mut() {
            Some(bucket) if target == last => *bucket = bucket.plus(*count),
            Some(_) if target == last.wrapping_add(1) => {
                merged_spans.last_mut().expect("a bucket lies in a span").length += 1;
                merged.push(*count);
            }
            Some(_) => {
                merged_spans.push(Span { offset: target.wrapping_sub(last).wrapping_sub(1), length: 1 });
                merged.push(*count);
            }
            None => {
                merged_spans.push(Span { offset: target, length: 1 });
                merged.push(*count);
            }
        }
        last = target;
    }
    B::from_absolute(&mut merged);
    (*spans, *buckets) = (merged_spans, merged);
    Ok(())
}

/// The index of each bucket. Indexes wrap where upstream's, also of 32 bits, do.
fn bucket_indexes(spans: &[Span]) -> impl Iterator<Item = i32> {
    let mut next = 0i32;
    spans.iter().flat_map(move |span| {
        let start = next.wrapping_add(span.offset);
        next = start.wrapping_add(span.length.cast_signed());
        (0..span.length).map(move |i| start.wrapping_add(i.cast_signed()))
    })
}

/// The bucket of a coarser schema that a bucket lies in. The upper bound of a bucket belongs to it, hence the shift by one.
fn coarser_index(index: i32, from: i32, to: i32) -> i32 {
    let steps = u32::try_from(from - to).expect("coarser");
    (index.wrapping_sub(1) >> steps.min(31)).wrapping_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(spans: &[(i32, u32)], deltas: &[i64], from: i32, to: i32, merged_spans: &[(i32, u32)], merged: &[i64]) {
        let of = |spans: &[(i32, u32)]| -> Vec<Span> {
            spans.iter().map(|(offset, length)| Span { offset: *offset, length: *length }).collect()
        };
        let (mut s, mut b) = (of(spans), deltas.to_vec());
        reduce_resolution(&mut s, &mut b, from, to).unwrap();
        assert_eq!((&s[..], &b[..]), (&of(merged_spans)[..], merged));
        let (mut s, mut b) = (of(spans), deltas.to_vec());
        i64::to_absolute(&mut b);
        let mut floats: Vec<f64> = b.iter().map(|n| *n as f64).collect();
        reduce_resolution(&mut s, &mut floats, from, to).unwrap();
        let mut expected = merged.to_vec();
        i64::to_absolute(&mut expected);
        assert_eq!((s, floats), (of(merged_spans), expected.iter().map(|n| *n as f64).collect()));
    }

    #[test]
    fn neighbours_are_merged_and_gaps_kept() {
        // Buckets 0 to 3 and 6: at half the resolution 0, 1 (of 1 and 2), 2 (of 3) and 3.
        check(&[(0, 4), (2, 1)], &[1, 1, 1, 1, 1], 1, 0, &[(0, 4)], &[1, 4, -1, 1]);
        check(&[(-2, 2), (5, 2)], &[3, 0, 2, -4], 4, 0, &[(0, 2)], &[6, 0]);
        check(&[(0, 1), (1, 0), (40, 1)], &[5, -1], 3, 2, &[(0, 1), (20, 1)], &[5, -1]);
        check(&[], &[], 9, 8, &[], &[]);
    }

    #[test]
    fn spans_that_do_not_fit_are_refused() {
        let reduced =
            |spans: &[Span], mut buckets: Vec<i64>| reduce_resolution(&mut spans.to_vec(), &mut buckets, 9, 8);
        assert!(reduced(&[Span { offset: 0, length: 2 }], vec![1]).is_err());
        assert!(reduced(&[Span { offset: 0, length: u32::MAX }], vec![1]).is_err());
        let back = [Span { offset: 0, length: 1 }, Span { offset: -1, length: 1 }];
        assert!(reduced(&back, vec![1, 1]).is_err());
    }
}
