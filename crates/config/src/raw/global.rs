//! The `global` block.

use std::collections::BTreeMap;

use model::DurationMs;

use super::scrape::{ProtocolName, check_protocols};
use super::text::MaybeList;
use crate::go;
use crate::scheme::NameValidation;
use crate::size::ByteSize;
use crate::yaml::decode::Bytes;
use crate::yaml::emit::sorted_map;
use crate::yaml::record::no_paths;
use crate::yaml::{Decode, Decoder, Encode, Fail, NodeId, Out, Refusal, record, refuse_at};

const SCRAPE_INTERVAL: DurationMs = DurationMs::mins(1);
const SCRAPE_TIMEOUT: DurationMs = DurationMs::secs(10);
const EVALUATION_INTERVAL: DurationMs = DurationMs::mins(1);

record! {
    /// The `global` block.
    pub(crate) struct RawGlobal as "config.GlobalConfig" in "config.plain" [reset = RawGlobal::default, check = RawGlobal::check] {
        scrape_interval: DurationMs = "scrape_interval" [omit];
        scrape_timeout: DurationMs = "scrape_timeout" [omit];
        scrape_protocols: MaybeList<ProtocolName> = "scrape_protocols" [omit];
        evaluation_interval: DurationMs = "evaluation_interval" [omit];
        rule_query_offset: DurationMs = "rule_query_offset" [omit];
        query_log_file: String = "query_log_file" [omit, path];
        scrape_failure_log_file: String = "scrape_failure_log_file" [omit, path];
        external_labels: ExternalLabels = "external_labels" [omit];
        body_size_limit: ByteSize = "body_size_limit" [omit];
        sample_limit: u64 = "sample_limit" [omit];
        target_limit: u64 = "target_limit" [omit];
        label_limit: u64 = "label_limit" [omit];
        label_name_length_limit: u64 = "label_name_length_limit" [omit];
        label_value_length_limit: u64 = "label_value_length_limit" [omit];
        keep_dropped_targets: u64 = "keep_dropped_targets" [omit];
        metric_name_validation_scheme: NameValidation = "metric_name_validation_scheme" [omit];
        metric_name_escaping_scheme: String = "metric_name_escaping_scheme" [omit];
        scrape_native_histograms: Option<bool> = "scrape_native_histograms" [omit];
        convert_classic_histograms_to_nhcb: bool = "convert_classic_histograms_to_nhcb" [omit];
        always_scrape_classic_histograms: bool = "always_scrape_classic_histograms" [omit];
        extra_scrape_metrics: Option<bool> = "extra_scrape_metrics" [omit];
    }
}

impl RawGlobal {
    pub(crate) fn defaults() -> RawGlobal {
        RawGlobal {
            scrape_interval: SCRAPE_INTERVAL,
            scrape_timeout: SCRAPE_TIMEOUT,
            evaluation_interval: EVALUATION_INTERVAL,
            scrape_native_histograms: Some(false),
            extra_scrape_metrics: Some(false),
            metric_name_validation_scheme: NameValidation::Utf8,
            metric_name_escaping_scheme: "allow-utf-8".to_owned(),
            ..RawGlobal::default()
        }
    }

    fn check(&mut self) -> Result<(), Refusal> {
        if self.metric_name_validation_scheme == NameValidation::Unset {
            self.metric_name_validation_scheme = NameValidation::Utf8;
        }
        for (name, value) in &self.external_labels.0 {
            let valid =
                str::from_utf8(&name.0).is_ok_and(|name| self.metric_name_validation_scheme.allows_label_name(name));
            if !valid {
                let text = format!("{} is not a valid label name", go::quote_bytes(&name.0));
                return refuse_at("external_labels", text);
            }
            if str::from_utf8(&value.0).is_err() {
                let text = format!("{} is not a valid label value", go::quote_bytes(&value.0));
                return refuse_at("external_labels", text);
            }
        }
        // The interval first: the timeout is measured against it.
        if self.scrape_interval.is_zero() {
            self.scrape_interval = SCRAPE_INTERVAL;
        }
        if self.scrape_timeout > self.scrape_interval {
            return refuse_at("scrape_timeout", "global scrape timeout greater than scrape interval");
        }
        if self.scrape_timeout.is_zero() {
            self.scrape_timeout = SCRAPE_TIMEOUT.min(self.scrape_interval);
        }
        if self.evaluation_interval.is_zero() {
            self.evaluation_interval = EVALUATION_INTERVAL;
        }
        self.scrape_native_histograms.get_or_insert(false);
        self.extra_scrape_metrics.get_or_insert(false);
        if let Some(protocols) = &self.scrape_protocols.0 {
            check_protocols(protocols)
                .or_else(|text| refuse_at("scrape_protocols", format!("{text} for global config")))?;
        }
        Ok(())
    }
}

/// Labels by name, as they were written: not yet known to be UTF-8, empty values kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ExternalLabels(pub(crate) BTreeMap<Bytes, Bytes>);

impl Decode for ExternalLabels {
    fn type_name() -> String {
        "labels.Labels".to_owned()
    }
    fn unmarshal(&mut self, d: &mut Decoder<'_>, id: NodeId) -> Result<bool, Fail> {
        let mut labels = BTreeMap::new();
        if !d.fill(id, &mut labels)? {
            return Ok(false);
        }
        self.0 = labels;
        Ok(true)
    }
}

impl Encode for ExternalLabels {
    fn is_zero(&self) -> bool {
        self.0.is_empty()
    }
    fn encode(&self) -> Out {
        let text = |bytes: &Bytes| String::from_utf8_lossy(&bytes.0).into_owned();
        sorted_map(self.0.iter().map(|(name, value)| (text(name), value.encode())).collect())
    }
}

no_paths!(ExternalLabels);
