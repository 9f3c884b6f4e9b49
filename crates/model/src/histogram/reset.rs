//! Whether a counter was reset between two histograms.
//!
//! Source: `DetectReset` of Prometheus `model/histogram/float_histogram.go`.

use super::add::{Parts, common_bounds, place_in};
use super::side::{coarser, indexed};
use super::{CounterResetHint, FloatHistogram, Span, bounds};

impl FloatHistogram {
    /// Whether a counter was reset between `previous` and this histogram: its hint says so, or a bucket lost observations or
    /// cannot be compared.
    pub fn is_reset_after(&self, previous: &FloatHistogram) -> bool {
        match self.counter_reset_hint {
            CounterResetHint::Reset => return true,
            CounterResetHint::NotReset => return false,
            CounterResetHint::Unknown | CounterResetHint::Gauge => {}
        }
        if self.count < previous.count {
            return true;
        }
        if self.is_custom() {
            if !previous.is_custom() {
                return true;
            }
            if self.custom_values != previous.custom_values {
                return self.lost_between_common_bounds(previous);
            }
        }
        // An exponential schema is finer than that of custom buckets by its number.
        if self.schema > previous.schema || self.zero_threshold < previous.zero_threshold {
            return true;
        }
        if self.is_custom() {
            return self.lost_any(previous, |h| (&h.positive_spans, &h.positive_buckets));
        }
        let (zero, threshold) = Parts::<f64>::of(previous).widened_zero(self.zero_threshold);
        threshold != self.zero_threshold
            || self.zero_count < zero
            || self.lost_any(previous, |h| (&h.positive_spans, &h.positive_buckets))
            || self.lost_any(previous, |h| (&h.negative_spans, &h.negative_buckets))
    }

    /// Whether a bucket of one side has less than before.
    fn lost_any(&self, previous: &FloatHistogram, side: impl Fn(&FloatHistogram) -> (&Vec<Span>, &Vec<f64>)) -> bool {
        let mut now = self.beyond_zero(side(self), self.schema).peekable();
        for (index, before) in self.beyond_zero(side(previous), previous.schema) {
            while now.next_if(|(at, _)| *at < index).is_some() {}
            let lost = match now.peek() {
                Some((at, count)) if *at == index => *count < before,
                _ => before != 0.0,
            };
            if lost {
                return true;
            }
        }
        false
    }

    /// Buckets of schema `from` merged into those of this histogram's, but for those that its zero bucket covers.
    fn beyond_zero<'a>(
        &self,
        (spans, buckets): (&'a Vec<Span>, &'a Vec<f64>),
        from: i32,
    ) -> impl Iterator<Item = (i32, f64)> + 'a {
        let (schema, width, is_custom) = (self.schema, self.zero_threshold, self.is_custom());
        let to = move |index: i32| if is_custom { index } else { coarser(index, from, schema) };
        let mut finer = indexed(spans, buckets).peekable();
        let merged = std::iter::from_fn(move || {
            let (index, mut count) = finer.next()?;
            let index = to(index);
            while let Some((_, more)) = finer.next_if(|(next, _)| to(*next) == index) {
                count += more;
            }
            Some((index, count))
        });
        let is_covered = move |index: i32| !is_custom && width != 0.0 && bounds::exponential(index, schema) <= width;
        merged.skip_while(move |(index, _)| is_covered(*index))
    }

    /// Whether custom buckets lost observations between bounds that both have.
    fn lost_between_common_bounds(&self, previous: &FloatHistogram) -> bool {
        let common = common_bounds(&self.custom_values, &previous.custom_values);
        let sums = |h: &FloatHistogram| {
            let mut sums = vec![0.0; common.len() + 1];
            for (index, count) in indexed(&h.positive_spans, &h.positive_buckets) {
                sums[place_in(&common, &h.custom_values, index)] += count;
            }
            sums
        };
        sums(self).iter().zip(sums(previous)).any(|(now, before)| *now < before)
    }
}
