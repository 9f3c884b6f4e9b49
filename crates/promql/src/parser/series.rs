//! Series descriptions: a metric and its values, as rule tests and test scripts write them.
//!
//! `metric{a="b"} 1 2+3x4 _ _x2 stale {{schema:1 sum:3 buckets:[1 2]}}x5`

mod histogram;

use std::sync::Arc;

use model::{FloatHistogram, Labels, LabelsBuilder, stale_nan};

use super::labels::MetricDesc;
use super::{Parsed, Parser, caught};
use crate::numbers;
use crate::token::Kind;

/// What adds to a histogram, or subtracts from it: the histogram, the other, what to do; an error is a text.
pub type CombineHistograms<'a> = dyn Fn(&FloatHistogram, &FloatHistogram, Sign) -> Result<FloatHistogram, String> + 'a;

/// Whether to add or to subtract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// `+`
    Plus,
    /// `-`
    Minus,
}

/// A series description.
#[derive(Clone, Debug, PartialEq)]
pub struct SeriesDesc {
    /// The metric; where a name occurs twice, the last value.
    pub labels: Labels,
    /// The metric as it was written.
    pub metric: MetricDesc,
    /// One for each point in time, repetitions written out.
    pub values: Vec<SequenceValue>,
}

/// A value at one point in time.
#[derive(Clone, Debug, PartialEq)]
pub enum SequenceValue {
    /// `_`: no sample.
    Omitted,
    /// A float; `stale` is the staleness marker.
    Float(f64),
    /// A native histogram.
    Histogram {
        /// The sample.
        histogram: Arc<FloatHistogram>,
        /// `counter_reset_hint` was written, so that an expected `unknown` differs from no expectation.
        hint_set: bool,
    },
}

/// Values that one description may have, repetitions written out. Prometheus has no bound.
const VALUES_MAX: u64 = 1_000_000;

impl Parser<'_> {
    pub(super) fn series_description(&mut self, combine: &CombineHistograms<'_>) -> Parsed<SeriesDesc> {
        let metric = self.metric()?;
        let mut values = Vec::new();
        while !matches!(self.peek(), Kind::Space | Kind::Eof | Kind::End) {
            if self.stuck_at_error_rule()? {
                self.unexpected("series values", "");
                break;
            }
        }
        while self.peek() == Kind::Space {
            self.take();
            if caught(self.series_item(&mut values, combine))?.is_none() {
                self.unexpected("series values", "");
                values.clear();
            }
        }
        let mut labels = LabelsBuilder::default();
        for (name, value) in metric.iter().filter(|(name, _)| !name.is_empty()) {
            labels.set(name, value);
        }
        Ok(SeriesDesc { labels: labels.build(), metric, values })
    }

    /// One value or repetition; nothing where another space follows.
    fn series_item(&mut self, values: &mut Vec<SequenceValue>, combine: &CombineHistograms<'_>) -> Parsed<()> {
        match self.peek() {
            Kind::Blank => {
                self.take();
                let count = self.repetitions()?.unwrap_or(1);
                self.repeat(values, &SequenceValue::Omitted, count)
            }
            Kind::OpenHist => self.histogram_item(values, combine),
            Kind::Identifier | Kind::Number | Kind::Duration | Kind::Add | Kind::Sub => self.float_item(values),
            _ => Ok(()),
        }
    }

    /// `x5`; `None` where there is none.
    fn repetitions(&mut self) -> Parsed<Option<u64>> {
        if self.peek() != Kind::Times {
            return Ok(None);
        }
        self.take();
        self.uint().map(Some)
    }

    fn uint(&mut self) -> Parsed<u64> {
        let token = self.expect(Kind::Number)?;
        Ok(numbers::parse_uint(self.word(token)).unwrap_or_else(|e| {
            self.error(super::pos(token), format!("invalid repetition in series values: {e}"));
            0
        }))
    }

    fn repeat(&mut self, values: &mut Vec<SequenceValue>, value: &SequenceValue, count: u64) -> Parsed<()> {
        for _ in 0..self.check_count(values, count)? {
            values.push(value.clone());
        }
        Ok(())
    }

    /// `count`, if so many values may be added.
    fn check_count(&mut self, values: &[SequenceValue], count: u64) -> Parsed<u64> {
        let present = u64::try_from(values.len()).unwrap_or(u64::MAX);
        if count.saturating_add(present) > VALUES_MAX {
            self.error(self.item_pos(), format!("too many series values, the limit is {VALUES_MAX}"));
            return Err(super::Unwind::Abort);
        }
        Ok(count)
    }

    /// `1`, `1x2`, `1+2x3`. A repetition has one value more than it says, for the time zero.
    fn float_item(&mut self, values: &mut Vec<SequenceValue>) -> Parsed<()> {
        let mut value = self.series_value()?;
        match self.peek() {
            Kind::Times => {
                let count = self.repetitions()?.unwrap_or(0);
                self.repeat(values, &SequenceValue::Float(value), count.saturating_add(1))
            }
            Kind::Add | Kind::Sub => {
                let step = self.signed_number()?;
                self.expect(Kind::Times)?;
                let count = self.uint()?.saturating_add(1);
                for _ in 0..self.check_count(values, count)? {
                    values.push(SequenceValue::Float(value));
                    value += step;
                }
                Ok(())
            }
            _ => self.repeat(values, &SequenceValue::Float(value), 1),
        }
    }

    fn series_value(&mut self) -> Parsed<f64> {
        if self.peek() != Kind::Identifier {
            return self.signed_number();
        }
        let token = self.take();
        if self.text(token) != b"stale" {
            self.unexpected("series values", "number or \"stale\"");
        }
        Ok(stale_nan())
    }

    /// A number with or without a sign.
    fn signed_number(&mut self) -> Parsed<f64> {
        let sign = loop {
            match self.peek() {
                Kind::Add | Kind::Number | Kind::Duration => break Sign::Plus,
                Kind::Sub => break Sign::Minus,
                _ => self.stuck()?,
            }
        };
        if matches!(self.peek(), Kind::Add | Kind::Sub) {
            self.take();
        }
        let number = self.unsigned_number()?;
        Ok(if sign == Sign::Minus { -number } else { number })
    }

    fn unsigned_number(&mut self) -> Parsed<f64> {
        let token = self.expect_number()?;
        Ok(self.number_or_duration(token).value)
    }

    /// `{{…}}`, `{{…}}x2`, `{{…}}+{{…}}x3`
    fn histogram_item(&mut self, values: &mut Vec<SequenceValue>, combine: &CombineHistograms<'_>) -> Parsed<()> {
        let (base, hint_set) = self.histogram()?;
        let base = Arc::new(base);
        let sign = match self.peek() {
            Kind::Times => {
                let count = self.repetitions()?.unwrap_or(0).saturating_add(1);
                return self.repeat(values, &SequenceValue::Histogram { histogram: base, hint_set }, count);
            }
            Kind::Add => Sign::Plus,
            Kind::Sub => Sign::Minus,
            _ => return self.repeat(values, &SequenceValue::Histogram { histogram: base, hint_set }, 1),
        };
        self.take();
        while self.peek() != Kind::OpenHist {
            self.stuck()?;
        }
        let (step, hint_set) = self.histogram()?;
        self.expect(Kind::Times)?;
        let count = self.uint()?;
        let count = self.check_count(values, count.saturating_add(1))?;
        let mut current = base;
        for i in 0..count {
            if i > 0 {
                current = match combined(&current, &step, sign, combine) {
                    Ok(next) => Arc::new(next),
                    Err(message) => {
                        self.error(self.item_pos(), message);
                        break;
                    }
                };
            }
            values.push(SequenceValue::Histogram { histogram: Arc::clone(&current), hint_set });
        }
        Ok(())
    }
}

fn combined(
    base: &FloatHistogram,
    step: &FloatHistogram,
    sign: Sign,
    combine: &CombineHistograms<'_>,
) -> Result<FloatHistogram, String> {
    if base.schema > step.schema {
        let (from, to) = (step.schema, base.schema);
        return Err(format!("error combining histograms: cannot merge from schema {from} to {to}"));
    }
    combine(base, step, sign)
}
