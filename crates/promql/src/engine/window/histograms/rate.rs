//! `rate`, `increase`, `delta`, `irate`, `idelta` of histograms.
//!
//! Source: Prometheus `extrapolatedRate`, `histogramRate` and `instantValue` of `promql/functions.go`.

use std::sync::Arc;

use model::{CounterResetHint, FloatHistogram};

use super::{Histograms, Outcome, Sample, Window};
use crate::engine::annotations::{Annotations, HistogramOperation};
use crate::engine::column::{float, secs};
use crate::engine::window::WindowFn;

pub(super) fn is_gauge(h: &FloatHistogram) -> bool {
    h.counter_reset_hint == CounterResetHint::Gauge
}

impl Histograms<'_> {
    /// The change over a window of histograms, extrapolated to its ends.
    pub(super) fn extrapolated(
        &self,
        function: WindowFn,
        window: &Window<'_>,
        annotations: &mut Annotations,
    ) -> Option<FloatHistogram> {
        let is_counter = function != WindowFn::Delta;
        let (first, last) = (window.hist_ts.first()?, window.hist_ts.last()?);
        let gaps = window.hists.len() - 1;
        if gaps == 0 {
            return None;
        }
        let mut change = self.change(is_counter, window.hists, annotations)?;
        let spec = self.floats.spec;
        let end = spec.end.of(self.floats.grid.at(window.step));
        let interval = secs(last.wrapping_sub(*first));
        let average = interval / float(gaps);
        let extend = |ms: i64| if secs(ms) >= average * 1.1 { average / 2.0 } else { secs(ms) };
        let mut to_start = extend(first.wrapping_sub(end.wrapping_sub(spec.range)));
        let to_end = extend(end.wrapping_sub(*last));
        let count = window.hists[0].count;
        if is_counter && change.count > 0.0 && count >= 0.0 {
            // A counter is not extended beyond the point where it would be zero.
            to_start = to_start.min(interval * (count / change.count));
        }
        let mut factor = if interval == 0.0 { 1.0 } else { (interval + to_start + to_end) / interval };
        if function == WindowFn::Rate {
            factor /= secs(spec.range);
        }
        change.mul(factor);
        Some(change)
    }

    /// The change from the first to the last of at least two histograms; of counters with what was lost by resets.
    fn change(
        &self,
        is_counter: bool,
        hists: &[Arc<FloatHistogram>],
        annotations: &mut Annotations,
    ) -> Option<FloatHistogram> {
        let (first, last, second) = (hists.first()?, hists.last()?, hists.get(1)?);
        let mut notes = Annotations::default();
        if is_counter && (is_gauge(first) || is_gauge(last)) {
            notes.histogram_not_counter(self.pos, self.name);
        }
        let emptied;
        let mut before: &FloatHistogram = first;
        if is_counter && second.is_reset_after(first) {
            emptied = second.empty_like();
            before = &emptied;
        }
        let is_custom = before.is_custom();
        if last.is_custom() != is_custom {
            annotations.merge(notes);
            annotations.mixed_schemas(self.pos, self.name);
            return None;
        }
        let mut schema = last.schema.min(before.schema);
        for h in hists[1..hists.len() - 1].iter().filter(|_| is_counter) {
            if is_gauge(h) {
                notes.histogram_not_counter(self.pos, self.name);
            }
            schema = schema.min(h.schema);
            if h.is_custom() != is_custom {
                annotations.mixed_schemas(self.pos, self.name);
                return None;
            }
        }
        let mut change = FloatHistogram::clone(last);
        change.reduce_resolution(schema);
        let Ok(combined) = change.sub(before) else {
            annotations.mixed_schemas(self.pos, self.name);
            return None;
        };
        if combined.bounds_reconciled {
            notes.bounds_reconciled(self.pos, HistogramOperation::Subtraction);
        }
        if is_counter {
            for h in &hists[1..] {
                if h.is_reset_after(before) {
                    let Ok(combined) = change.add(before) else {
                        annotations.mixed_schemas(self.pos, self.name);
                        return None;
                    };
                    if combined.bounds_reconciled {
                        notes.bounds_reconciled(self.pos, HistogramOperation::Addition);
                    }
                }
                before = h;
            }
        } else if !is_gauge(first) || !is_gauge(last) {
            notes.histogram_not_gauge(self.pos, self.name);
        }
        annotations.merge(notes);
        change.counter_reset_hint = CounterResetHint::Gauge;
        change.compact(0);
        Some(change)
    }

    /// The change between the last two samples of a window.
    pub(super) fn last_change(&self, is_rate: bool, window: &Window<'_>, annotations: &mut Annotations) -> Outcome {
        let Window { float_ts, floats, hist_ts, hists, step } = *window;
        let last_two = Window {
            step,
            float_ts: &float_ts[float_ts.len().saturating_sub(2)..],
            floats: &floats[floats.len().saturating_sub(2)..],
            hist_ts: &hist_ts[hist_ts.len().saturating_sub(2)..],
            hists: &hists[hists.len().saturating_sub(2)..],
        };
        let samples: Vec<(i64, Sample<'_>)> = last_two.samples().collect();
        let [.., (before_at, before), (after_at, after)] = samples.as_slice() else { return Outcome::Nothing };
        let interval = secs(after_at.wrapping_sub(*before_at));
        if interval == 0.0 {
            return Outcome::Nothing;
        }
        let (before, after) = match (before, after) {
            (Sample::Float(_), Sample::Float(_)) => return Outcome::AsFloats,
            (Sample::Histogram(before), Sample::Histogram(after)) => (before, after),
            (Sample::Float(_), Sample::Histogram(_)) | (Sample::Histogram(_), Sample::Float(_)) => {
                annotations.mixed_range(self.pos, self.name);
                return Outcome::Nothing;
            }
        };
        if is_rate && (is_gauge(before) || is_gauge(after)) {
            annotations.histogram_not_counter(self.pos, self.name);
        }
        let both_gauges = is_gauge(before) && is_gauge(after);
        if !is_rate && !both_gauges {
            annotations.histogram_not_gauge(self.pos, self.name);
        }
        let mut change = FloatHistogram::clone(after);
        if !is_rate || !after.is_reset_after(before) {
            let Ok(combined) = change.sub(before) else {
                annotations.mixed_schemas(self.pos, self.name);
                return Outcome::Nothing;
            };
            if combined.bounds_reconciled {
                annotations.bounds_reconciled(self.pos, HistogramOperation::Subtraction);
            }
        }
        change.counter_reset_hint = CounterResetHint::Gauge;
        change.compact(0);
        if is_rate {
            change.div(interval);
        }
        Outcome::of(Some(change))
    }
}
