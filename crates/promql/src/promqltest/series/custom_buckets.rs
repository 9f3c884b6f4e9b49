//! Classic histograms of a `load_with_nhcb` as native ones with custom buckets.
//!
//! Source: Prometheus `util/convertnhcb`.

use std::collections::BTreeMap;

use model::{CUSTOM_BUCKETS_SCHEMA, FloatHistogram, Labels, LabelsBuilder, METRIC_NAME, Span};

use crate::numbers::{format_g, parse_float};

/// What is known of a histogram at one time.
#[derive(Debug, Default)]
struct Draft {
    /// Upper bounds and cumulative counts, as they came.
    buckets: Vec<(f64, f64)>,
    count: Option<f64>,
    sum: f64,
}

/// Histograms that are being put together, by labels and time.
#[derive(Debug, Default)]
pub(super) struct Collector {
    drafts: BTreeMap<(Labels, i64), Draft>,
}

impl Collector {
    /// Takes a sample of any series.
    pub(super) fn add(&mut self, labels: &Labels, at: i64, v: f64) {
        let name = labels.metric_name().unwrap_or("");
        let suffixes = ["_bucket", "_count", "_sum"];
        let Some((base, suffix)) = suffixes.iter().find_map(|s| Some((name.strip_suffix(s)?, *s))) else { return };
        let bound = labels.get("le").and_then(|le| parse_float(le).ok()).filter(|bound| !bound.is_nan());
        if suffix == "_bucket" && bound.is_none() {
            return;
        }
        let mut builder = LabelsBuilder::from_labels(labels);
        builder.set(METRIC_NAME, base).del("le");
        let draft = self.drafts.entry((builder.build(), at)).or_default();
        match (suffix, bound) {
            ("_bucket", Some(bound)) => draft.buckets.push((bound, v)),
            ("_count", _) => draft.count = Some(v),
            _ => draft.sum = v,
        }
    }

    /// The histograms; an error where one is none.
    pub(super) fn histograms(self) -> Result<Vec<(Labels, i64, FloatHistogram)>, String> {
        let convert = |((labels, at), draft): ((Labels, i64), Draft)| Ok((labels, at, draft.convert()?));
        self.drafts.into_iter().map(convert).collect()
    }
}

impl Draft {
    fn convert(mut self) -> Result<FloatHistogram, String> {
        self.buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        self.buckets.dedup_by_key(|(bound, _)| *bound);
        let count = self.count.or(self.buckets.last().map(|(_, count)| *count)).unwrap_or(0.0);
        if self.buckets.last().is_none_or(|(bound, _)| *bound != f64::INFINITY) {
            self.buckets.push((f64::INFINITY, count));
        }
        let mut before = 0.0;
        let mut counts = Vec::new();
        for (bound, cumulative) in &self.buckets {
            if *cumulative < before {
                return Err(format!("count is not cumulative: {} < {}", format_g(*cumulative), format_g(before)));
            }
            if *cumulative < 0.0 {
                return Err(format!("bucket count must be non-negative: le={}", format_g(*bound)));
            }
            counts.push(cumulative - before);
            before = *cumulative;
        }
        if count != before {
            return Err(format!("count mismatch: count={} count={}", format_g(count), format_g(before)));
        }
        let bounds = self.buckets.iter().map(|(bound, _)| *bound).filter(|bound| *bound != f64::INFINITY);
        let is_whole = self.buckets.iter().all(|(_, cumulative)| cumulative.fract() == 0.0);
        let mut h = FloatHistogram {
            schema: CUSTOM_BUCKETS_SCHEMA,
            count,
            sum: self.sum,
            positive_spans: vec![Span { offset: 0, length: u32::try_from(counts.len()).unwrap_or(u32::MAX) }],
            positive_buckets: counts,
            custom_values: bounds.collect(),
            ..FloatHistogram::default()
        };
        h.compact(if is_whole { 2 } else { 0 });
        h.validate().map_err(|e| e.to_string())?;
        Ok(h)
    }
}
