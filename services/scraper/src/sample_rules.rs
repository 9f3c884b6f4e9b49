//! What happens to the labels of a page's series before they are those of a stored series. Source: `mutateSampleLabels`,
//! `mutateReportSampleLabels` and `verifyLabelLimits` of Prometheus `scrape/scrape.go`.

use std::sync::Arc;

use config::NameValidation;
use model::{Labels, LabelsBuilder, METRIC_NAME};
use relabel::Verdict;

use crate::settings::JobSettings;

const EXPORTED_PREFIX: &str = "exported_";

/// The rules for one target.
#[derive(Clone)]
pub(crate) struct SampleRules {
    pub(crate) job: Arc<JobSettings>,
    /// The labels that series of the target get.
    pub(crate) target_labels: Labels,
}

/// Why a series cannot be; it fails the whole scrape.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SeriesError {
    #[error("missing metric name (__name__ label)")]
    NoName,
    #[error("invalid metric name or label names: {0}")]
    Names(String),
    #[error("label_limit exceeded (metric: {metric}, number of labels: {count}, limit: {limit})")]
    Labels { metric: String, count: usize, limit: u64 },
    #[error(
        "label_name_length_limit exceeded (metric: {metric}, label name: {name}, length: {length}, limit: {limit})"
    )]
    NameLength { metric: String, name: String, length: usize, limit: u64 },
    #[error(
        "label_value_length_limit exceeded (metric: {metric}, label name: {name}, value: {value:?}, length: {length}, limit: {limit})"
    )]
    ValueLength { metric: String, name: String, value: String, length: usize, limit: u64 },
}

impl SeriesError {
    /// Whether it is a limit of the configuration.
    pub(crate) fn is_limit(&self) -> bool {
        !matches!(self, SeriesError::NoName | SeriesError::Names(_))
    }
}

impl SampleRules {
    /// The labels to store; `None` where relabelling drops the series.
    pub(crate) fn apply(&self, labels: &Labels) -> Result<Option<Labels>, SeriesError> {
        let Some(labels) = self.relabelled(labels) else { return Ok(None) };
        let Some(name) = labels.metric_name() else { return Err(SeriesError::NoName) };
        let scheme = self.job.config.name_validation;
        if !has_valid_names(scheme, name, &labels) {
            return Err(SeriesError::Names(labels.to_string()));
        }
        self.check_limits(name, &labels)?;
        Ok(Some(labels))
    }

    /// As [`SampleRules::apply`], of labels that came through before.
    pub(crate) fn relabelled(&self, labels: &Labels) -> Option<Labels> {
        let mut builder = LabelsBuilder::from_labels(labels);
        if self.job.config.honor_labels {
            for l in &self.target_labels {
                if builder.get(l.name).is_empty() {
                    builder.set(l.name, l.value);
                }
            }
        } else {
            self.set_target_labels(labels, &mut builder);
        }
        if relabel::process(&self.job.metric_relabel, &mut builder) == Verdict::Drop {
            return None;
        }
        Some(builder.build()).filter(|labels| !labels.is_empty())
    }

    fn set_target_labels(&self, labels: &Labels, builder: &mut LabelsBuilder) {
        let mut conflicts: Vec<(&str, &str)> = Vec::new();
        for l in &self.target_labels {
            if let Some(exposed) = labels.get(l.name) {
                conflicts.push((l.name, exposed));
            }
            builder.set(l.name, l.value);
        }
        // The shorter first, so that `exported_a` is there when `exported_exported_a` looks for room.
        conflicts.sort_by_key(|(name, _)| name.len());
        for (name, exposed) in conflicts {
            let mut name = format!("{EXPORTED_PREFIX}{name}");
            while !builder.get(&name).is_empty() {
                name.insert_str(0, EXPORTED_PREFIX);
            }
            builder.set(&name, exposed);
        }
    }

    fn check_limits(&self, name: &str, labels: &Labels) -> Result<(), SeriesError> {
        let limits = &self.job.config.limits;
        let metric = || first_chars(name);
        let count = if limits.labels > 0 { labels.len() } else { 0 };
        if limits.labels > 0 && count as u64 > limits.labels {
            return Err(SeriesError::Labels { metric: metric(), count, limit: limits.labels });
        }
        if limits.label_name_length == 0 && limits.label_value_length == 0 {
            return Ok(());
        }
        for l in labels {
            let (length, limit) = (l.name.len(), limits.label_name_length);
            if limit > 0 && length as u64 > limit {
                return Err(SeriesError::NameLength { metric: metric(), name: first_chars(l.name), length, limit });
            }
            let (length, limit) = (l.value.len(), limits.label_value_length);
            if limit > 0 && length as u64 > limit {
                let (name, value) = (first_chars(l.name), first_chars(l.value));
                return Err(SeriesError::ValueLength { metric: metric(), name, value, length, limit });
            }
        }
        Ok(())
    }

    /// The labels of `up` and its like. That a label `exported_x` of the target goes where it has an `x`, too, is as in
    /// Prometheus.
    pub(crate) fn report_labels(&self, name: &str) -> Labels {
        let mut builder = LabelsBuilder::default();
        builder.set(METRIC_NAME, name);
        for l in &self.target_labels {
            builder.del(&format!("{EXPORTED_PREFIX}{}", l.name));
            builder.set(l.name, l.value);
        }
        builder.build()
    }
}

fn has_valid_names(scheme: NameValidation, name: &str, labels: &Labels) -> bool {
    scheme.allows_metric_name(name) && labels.iter().all(|l| scheme.allows_label_name(l.name))
}

/// Go's `%.50s`.
fn first_chars(text: &str) -> String {
    text.chars().take(50).collect()
}
