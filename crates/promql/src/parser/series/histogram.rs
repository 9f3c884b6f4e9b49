//! Native histograms in series descriptions: `{{schema:1 count:6 sum:3 buckets:[1 2 3]}}`.

use model::{CounterResetHint, FloatHistogram, Span};

use super::super::{Parsed, Parser, caught};
use crate::ast::Pos;
use crate::token::Kind;

/// What was written; every key at most once.
#[derive(Default)]
struct Description {
    schema: Option<i64>,
    sum: Option<f64>,
    count: Option<f64>,
    zero_count: Option<f64>,
    zero_threshold: Option<f64>,
    custom_values: Option<Vec<f64>>,
    counter_reset_hint: Option<CounterResetHint>,
    buckets: Option<Vec<f64>>,
    offset: Option<i64>,
    negative_buckets: Option<Vec<f64>>,
    negative_offset: Option<i64>,
}

impl Parser<'_> {
    /// The histogram, and whether its counter reset hint was written. `{{` was seen.
    pub(super) fn histogram(&mut self) -> Parsed<(FloatHistogram, bool)> {
        self.take();
        let mut description = Description::default();
        match self.peek() {
            Kind::Space => {
                self.take();
                self.expect(Kind::CloseHist)?;
                return Ok(description.build());
            }
            Kind::CloseHist => {
                self.take();
                return Ok(description.build());
            }
            _ => self.histogram_value(&mut description)?,
        }
        loop {
            match self.peek() {
                Kind::CloseHist => break,
                Kind::Space => {
                    self.take();
                    if self.peek() != Kind::CloseHist && caught(self.histogram_value(&mut description))?.is_none() {
                        self.unexpected_in_histogram();
                    }
                }
                _ => {
                    if self.stuck_at_error_rule()? {
                        self.unexpected_in_histogram();
                    }
                }
            }
        }
        self.take();
        Ok(description.build())
    }

    fn unexpected_in_histogram(&mut self) {
        self.unexpected("histogram description", "histogram description key, e.g. buckets:[5 10 7]");
    }

    /// One `key:value`.
    fn histogram_value(&mut self, into: &mut Description) -> Parsed<()> {
        while !(Kind::SumDesc..=Kind::CounterResetHintDesc).contains(&self.peek()) {
            self.stuck()?;
        }
        let key = self.take();
        self.expect(Kind::Colon)?;
        let fresh = match key.kind {
            Kind::SumDesc => set(&mut into.sum, self.signed_number()?),
            Kind::CountDesc => set(&mut into.count, self.signed_number()?),
            Kind::SchemaDesc => set(&mut into.schema, self.int()?),
            Kind::OffsetDesc => set(&mut into.offset, self.int()?),
            Kind::NegativeOffsetDesc => set(&mut into.negative_offset, self.int()?),
            Kind::BucketsDesc => set(&mut into.buckets, self.buckets()?),
            Kind::NegativeBucketsDesc => set(&mut into.negative_buckets, self.buckets()?),
            Kind::ZeroBucketDesc => set(&mut into.zero_count, self.signed_number()?),
            Kind::ZeroBucketWidthDesc => set(&mut into.zero_threshold, self.unsigned_number()?),
            Kind::CustomValuesDesc => set(&mut into.custom_values, self.buckets()?),
            _ => set(&mut into.counter_reset_hint, self.hint()?),
        };
        if !fresh {
            let key = self.word(key).to_ascii_lowercase();
            self.error(Pos::default(), format!("duplicate key \"{key}\" in histogram"));
        }
        Ok(())
    }

    /// A whole number with or without `-`.
    fn int(&mut self) -> Parsed<i64> {
        let negative = loop {
            match self.peek() {
                Kind::Sub => break true,
                Kind::Number => break false,
                _ => self.stuck()?,
            }
        };
        if negative {
            self.take();
        }
        // What does not fit wraps around, as in Go.
        #[expect(clippy::cast_possible_wrap, reason = "as in Prometheus")]
        let n = self.uint()? as i64;
        Ok(if negative { n.wrapping_neg() } else { n })
    }

    fn hint(&mut self) -> Parsed<CounterResetHint> {
        let hint = loop {
            match self.peek() {
                Kind::UnknownCounterReset => break CounterResetHint::Unknown,
                Kind::CounterReset => break CounterResetHint::Reset,
                Kind::NotCounterReset => break CounterResetHint::NotReset,
                Kind::GaugeType => break CounterResetHint::Gauge,
                _ => self.stuck()?,
            }
        };
        self.take();
        Ok(hint)
    }

    /// `[1 2 3]`
    fn buckets(&mut self) -> Parsed<Vec<f64>> {
        self.expect(Kind::LeftBracket)?;
        let mut buckets = vec![self.signed_number()?];
        loop {
            match self.peek() {
                Kind::RightBracket => break,
                Kind::Space => {
                    self.take();
                    if self.peek() == Kind::RightBracket {
                        break;
                    }
                    if let Some(bucket) = caught(self.signed_number())? {
                        buckets.push(bucket);
                    }
                }
                // As in Prometheus, what does not fit is passed over in silence.
                _ => {
                    self.stuck_at_error_rule()?;
                }
            }
        }
        self.take();
        Ok(buckets)
    }
}

/// Keeps the first value; false says that there was one.
fn set<T>(slot: &mut Option<T>, value: T) -> bool {
    let fresh = slot.is_none();
    slot.get_or_insert(value);
    fresh
}

/// Go's conversion: what does not fit wraps around.
#[expect(clippy::cast_possible_truncation, reason = "as in Prometheus")]
fn wrap(n: i64) -> i32 {
    n as i32
}

fn spans(buckets: &[f64], offset: Option<i64>) -> Vec<Span> {
    if buckets.is_empty() {
        return Vec::new();
    }
    let length = u32::try_from(buckets.len()).unwrap_or(u32::MAX);
    vec![Span { offset: wrap(offset.unwrap_or(0)), length }]
}

impl Description {
    fn build(self) -> (FloatHistogram, bool) {
        let positive_buckets = self.buckets.unwrap_or_default();
        let negative_buckets = self.negative_buckets.unwrap_or_default();
        let histogram = FloatHistogram {
            counter_reset_hint: self.counter_reset_hint.unwrap_or_default(),
            schema: wrap(self.schema.unwrap_or(0)),
            zero_threshold: self.zero_threshold.unwrap_or(0.0),
            zero_count: self.zero_count.unwrap_or(0.0),
            count: self.count.unwrap_or(0.0),
            sum: self.sum.unwrap_or(0.0),
            positive_spans: spans(&positive_buckets, self.offset),
            negative_spans: spans(&negative_buckets, self.negative_offset),
            positive_buckets,
            negative_buckets,
            custom_values: self.custom_values.unwrap_or_default(),
        };
        (histogram, self.counter_reset_hint.is_some())
    }
}
