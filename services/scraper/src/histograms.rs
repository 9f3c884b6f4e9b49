//! What a target's native histograms may be. Source: `bucketLimitAppender`, `maxSchemaAppender` and `pickSchema` of Prometheus
//! `scrape/`.

use config::ScrapeConfig;
use exposition::HistogramChoice;
use model::{HistogramError, SCHEMA_MAX, SCHEMA_MIN, SampleValue};

/// The rules for one target.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct HistogramRules {
    /// What is read of a page.
    pub(crate) choice: HistogramChoice,
    /// Finer resolutions are reduced to it.
    schema_max: i32,
    /// Most buckets, if there is a limit: `native_histogram_bucket_limit`.
    buckets_max: Option<usize>,
}

/// Why a histogram is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Misfit {
    /// It has too many buckets at the coarsest resolution.
    Buckets,
    /// It cannot be.
    Invalid(HistogramError),
}

impl From<HistogramError> for Misfit {
    fn from(e: HistogramError) -> Misfit {
        Misfit::Invalid(e)
    }
}

impl HistogramRules {
    pub(crate) fn new(config: &ScrapeConfig, choice: HistogramChoice) -> HistogramRules {
        let limits = &config.limits;
        let buckets_max = usize::try_from(limits.native_histogram_buckets).unwrap_or(usize::MAX);
        HistogramRules {
            choice,
            schema_max: schema_of(limits.native_histogram_min_bucket_factor),
            buckets_max: (buckets_max > 0).then_some(buckets_max),
        }
    }

    /// Makes a histogram one that can be stored, of as fine a resolution as may be.
    pub(crate) fn fit(&self, value: &mut SampleValue) -> Result<(), Misfit> {
        if value.is_stale() {
            return Ok(());
        }
        match value {
            SampleValue::Float(_) => return Ok(()),
            SampleValue::Histogram(h) => h.normalize()?,
            SampleValue::FloatHistogram(h) => h.normalize()?,
        }
        if (SCHEMA_MIN..=SCHEMA_MAX).contains(&schema(value)) && schema(value) > self.schema_max {
            reduce(value, self.schema_max)?;
        }
        let Some(max) = self.buckets_max else { return Ok(()) };
        while buckets(value) > max {
            // Custom buckets have no coarser form.
            if schema(value) <= SCHEMA_MIN {
                return Err(Misfit::Buckets);
            }
            reduce(value, schema(value) - 1)?;
        }
        Ok(())
    }
}

fn schema(value: &SampleValue) -> i32 {
    match value {
        SampleValue::Float(_) => 0,
        SampleValue::Histogram(h) => h.schema,
        SampleValue::FloatHistogram(h) => h.schema,
    }
}

fn buckets(value: &SampleValue) -> usize {
    match value {
        SampleValue::Float(_) => 0,
        SampleValue::Histogram(h) => h.positive_buckets.len() + h.negative_buckets.len(),
        SampleValue::FloatHistogram(h) => h.positive_buckets.len() + h.negative_buckets.len(),
    }
}

fn reduce(value: &mut SampleValue, schema: i32) -> Result<(), HistogramError> {
    match value {
        SampleValue::Float(_) => {}
        SampleValue::Histogram(h) => h.reduce_resolution(schema)?,
        SampleValue::FloatHistogram(h) => h.reduce_resolution(schema),
    }
    Ok(())
}

/// The finest resolution at which one bucket is at least `factor` times as wide as the one before; 0 stands for no limit.
fn schema_of(factor: f64) -> i32 {
    // Also of what is no number.
    if factor.is_nan() || factor <= 1.0 {
        return SCHEMA_MAX;
    }
    let schema = (-factor.log2().log2()).floor();
    (SCHEMA_MIN..=SCHEMA_MAX).rev().find(|s| f64::from(*s) <= schema).unwrap_or(SCHEMA_MIN)
}

#[cfg(test)]
mod tests {
    use model::{CUSTOM_BUCKETS_SCHEMA, FloatHistogram, Histogram, Span};

    use super::*;

    fn rules(schema_max: i32, buckets_max: usize) -> HistogramRules {
        let buckets_max = (buckets_max > 0).then_some(buckets_max);
        HistogramRules { choice: HistogramChoice::default(), schema_max, buckets_max }
    }

    /// Of `n` buckets from the first with one observation each, in integers.
    fn integers(schema: i32, n: u32) -> SampleValue {
        let mut positive_buckets = vec![0; n as usize];
        positive_buckets.iter_mut().take(1).for_each(|first| *first = 1);
        let positive_spans = vec![Span { offset: 1, length: n }];
        let count = u64::from(n);
        SampleValue::Histogram(Box::new(Histogram {
            schema,
            count,
            positive_spans,
            positive_buckets,
            ..Histogram::default()
        }))
    }

    fn floats(value: &SampleValue) -> SampleValue {
        let SampleValue::Histogram(h) = value else { unreachable!("integers are made here") };
        SampleValue::FloatHistogram(Box::new(h.to_float()))
    }

    #[test]
    fn a_factor_stands_for_a_resolution() {
        for (factor, schema) in [
            (0.0, 8),
            (1.002, 8),
            (1.00271, 8),
            (1.003, 7),
            (1.1, 2),
            (1.5, 0),
            (2.0, 0),
            (3.0, -1),
            (65536.0, -4),
            (1e9, -4),
        ] {
            assert_eq!(schema_of(factor), schema, "{factor}");
        }
    }

    #[test]
    fn histograms_are_made_coarser_until_they_fit() {
        for (schema, n, rules, coarser, left) in [
            (3, 8, rules(8, 0), 3, 8),
            (3, 8, rules(1, 0), 1, 2),
            (3, 8, rules(8, 8), 3, 8),
            (3, 8, rules(8, 4), 2, 4),
            (3, 8, rules(2, 1), 0, 1),
            (-1, 2, rules(1, 1), -2, 1),
        ] {
            let made = integers(schema, n);
            for mut value in [floats(&made), made] {
                assert_eq!(rules.fit(&mut value), Ok(()));
                assert_eq!((super::schema(&value), buckets(&value)), (coarser, left), "{schema} {n} {rules:?}");
            }
        }
    }

    #[test]
    fn what_cannot_be_made_coarser_is_told() {
        let far = |offset| Span { offset, length: 1 };
        let mut value = SampleValue::FloatHistogram(Box::new(FloatHistogram {
            count: 2.0,
            positive_spans: vec![far(0), far(1000)],
            positive_buckets: vec![1.0, 1.0],
            ..FloatHistogram::default()
        }));
        assert_eq!(rules(8, 1).fit(&mut value), Err(Misfit::Buckets));
        let mut value = SampleValue::Histogram(Box::new(Histogram {
            schema: CUSTOM_BUCKETS_SCHEMA,
            count: 2,
            positive_spans: vec![Span { offset: 0, length: 2 }],
            positive_buckets: vec![1, 0],
            custom_values: vec![1.0],
            ..Histogram::default()
        }));
        assert_eq!(rules(0, 2).fit(&mut value), Ok(()));
        assert_eq!(rules(0, 1).fit(&mut value), Err(Misfit::Buckets));
        let mut bad = SampleValue::Histogram(Box::new(Histogram { count: 2, ..Histogram::default() }));
        assert!(matches!(rules(8, 0).fit(&mut bad), Err(Misfit::Invalid(_))));
    }
}
