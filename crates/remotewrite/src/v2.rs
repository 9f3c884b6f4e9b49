//! `io.prometheus.write.v2.Request` as a source of samples: texts stand once in a table of symbols, and everything else points there.
//!
//! What is wrong with one series refuses that series alone, in Prometheus' words, and the rest is stored: so in Prometheus. Start
//! timestamps are read over: nothing stores them yet. Source: `prompb/io/prometheus/write/v2/types.proto` and `codec.go`, `appendV2`
//! of `storage/remote/write_handler.go`.

mod families;
mod series;
mod symbols;

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use model::{METRIC_NAME, Metadata, MetricType, TimestampMs};
use protowire::{Content, Fields, Malformed};
use storage::RejectReason;
use writer::{SampleSink, SampleSource};

use crate::decode::{Counts, put_text};
use crate::histogram;
use series::Series;
use symbols::Symbols;

pub use families::KnownFamilies;
pub use symbols::SYMBOLS_MAX;

/// A decompressed request whose symbols were read; the rest is decoded while it is walked.
pub struct Request<'a> {
    bytes: &'a [u8],
    symbols: Symbols<'a>,
    known: Option<&'a KnownFamilies>,
    /// What was not known of the families, when it was walked last.
    // Guards a list that one walk writes and the caller takes afterwards; never taken with another lock.
    told: Mutex<Vec<u64>>,
}

/// The metadata of a series that is sent, or to be sent, by name of its family.
type Families<'a> = HashMap<&'a str, (MetricType, u64, u64)>;

impl<'a> Request<'a> {
    /// The request in `bytes`, which are not compressed. An error where its symbols cannot be read.
    pub fn new(bytes: &'a [u8]) -> Result<Request<'a>, String> {
        Ok(Request { bytes, symbols: Symbols::read(bytes)?, known: None, told: Mutex::default() })
    }

    /// The same without the metadata that is known.
    pub fn leaving_out(mut self, known: &'a KnownFamilies, now: TimestampMs) -> Request<'a> {
        known.forget_old(now);
        self.known = Some(known);
        self
    }

    /// To be called once the request is stored: its metadata is known from now on.
    pub fn is_stored(&self) {
        if let Some(known) = self.known {
            known.remember(std::mem::take(&mut *self.told.lock().unwrap_or_else(PoisonError::into_inner)));
        }
    }

    /// Decodes everything and counts; series that are refused are not among them.
    pub fn validate(&self) -> Result<Counts, String> {
        let mut counts = Counts::default();
        let decoded = self.for_each(|series| {
            for histogram in &series.histograms {
                histogram::read(histogram)?;
            }
            for exemplar in &series.exemplars {
                series::read_exemplar(exemplar)?;
            }
            let is_taken = series.resolve(&self.symbols).is_ok()
                && series.metadata(&self.symbols).is_ok()
                && series.check().is_ok();
            if is_taken {
                counts.series += 1;
                counts.samples += series.samples.len() as u64;
                counts.histograms += series.histograms.len() as u64;
                counts.exemplars += series.exemplars.len() as u64;
            }
            Ok(())
        });
        decoded.map_err(|e| e.to_string())?;
        Ok(counts)
    }

    fn for_each(&self, mut on_series: impl FnMut(&mut Series<'a>) -> Result<(), Malformed>) -> Result<(), Malformed> {
        let mut fields = Fields::new(self.bytes);
        let mut series = Series::default();
        while let Some((number, content)) = fields.next()? {
            match (number, content) {
                (5, Content::Bytes(bytes)) => {
                    series.read(bytes)?;
                    on_series(&mut series)?;
                }
                (5, _) => return Err(Malformed::WrongWireType),
                _ => {}
            }
        }
        Ok(())
    }

    fn give(
        &self,
        series: &mut Series<'a>,
        families: &mut Families<'a>,
        sink: &mut SampleSink<'_>,
    ) -> Result<(), Malformed> {
        let count = series.sample_count();
        let metadata = match series.resolve(&self.symbols).and_then(|()| series.metadata(&self.symbols)) {
            Ok(metadata) => metadata,
            Err(why) => {
                sink.reject(RejectReason::InvalidLabels, count, || why);
                return Ok(());
            }
        };
        if let Err(why) = series.check() {
            sink.reject(RejectReason::InvalidLabels, count, || why);
            return Ok(());
        }
        self.note_family(series, metadata, families);
        let labels = series.texts();
        let pack = |out: &mut Vec<u8>| {
            for (name, value) in labels.filter(|(_, value)| !value.is_empty()) {
                put_text(out, name.as_bytes());
                put_text(out, value.as_bytes());
            }
        };
        // The labels were checked just now: symbols are known to be text, so that costs little.
        let Some(id) = sink.packed_series(pack, |_| Ok(()), count) else { return Ok(()) };
        for (t, v) in &series.samples {
            sink.sample(id, *t, *v);
        }
        for bytes in &series.histograms {
            let (t, value) = histogram::read(bytes)?;
            sink.histogram(id, t, value);
        }
        for bytes in &series.exemplars {
            series.give_exemplar(bytes, &self.symbols, id, sink)?;
        }
        Ok(())
    }

    /// All series of a family say the same of it, usually.
    fn note_family(&self, series: &Series<'a>, said: series::RawMetadata, families: &mut Families<'a>) {
        let is_empty = |at: u64| self.symbols.get(at).is_none_or(|symbol| symbol.bytes().is_empty());
        if said.metric_type == MetricType::Unknown && is_empty(said.help) && is_empty(said.unit) {
            return;
        }
        let Some((_, name)) = series.texts().find(|(name, _)| *name == METRIC_NAME) else { return };
        families.insert(family_of(name, said.metric_type), (said.metric_type, said.help, said.unit));
    }

    fn metadata(&self, (metric_type, help, unit): (MetricType, u64, u64)) -> Metadata {
        let text = |at| self.symbols.get(at).map(|symbol| symbol.to_text()).unwrap_or_default();
        Metadata { metric_type, help: text(help), unit: text(unit) }
    }
}

/// The family that a series belongs to: that of a histogram or summary has a name without the suffixes of its parts.
fn family_of(name: &str, metric_type: MetricType) -> &str {
    let suffixes: &[&str] = match metric_type {
        MetricType::Histogram | MetricType::GaugeHistogram => &["_bucket", "_count", "_sum"],
        MetricType::Summary => &["_count", "_sum"],
        MetricType::Unknown | MetricType::Counter | MetricType::Gauge | MetricType::Info | MetricType::StateSet => &[],
    };
    suffixes.iter().find_map(|suffix| name.strip_suffix(suffix)).filter(|base| !base.is_empty()).unwrap_or(name)
}

impl SampleSource for Request<'_> {
    fn walk(&self, sink: &mut SampleSink<'_>) -> Result<(), String> {
        let mut families = Families::new();
        self.for_each(|series| self.give(series, &mut families, sink)).map_err(|e| e.to_string())?;
        let mut told = Vec::new();
        for (name, said) in families {
            let metadata = self.metadata(said);
            if let Some(known) = self.known {
                let hash = known.hash(name, &metadata);
                if known.has(hash) {
                    continue;
                }
                told.push(hash);
            }
            sink.metadata(name, &metadata);
        }
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) = told;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
