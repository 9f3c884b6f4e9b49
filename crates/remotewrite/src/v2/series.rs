//! One series of a request.

use model::{Labels, METRIC_NAME, MetricType, SeriesId, write_label};
use protowire::{Content, Fields, Malformed};
use storage::RejectReason;
use writer::SampleSink;

use crate::decode::{EXEMPLAR_LABEL_CHARS_MAX, read_sample};

use super::symbols::{Symbol, Symbols};

/// Most bytes of an error text about one series: labels may be megabytes.
const WORDS_BYTES_MAX: usize = 2000;

/// As it is decoded; its vectors are used again for the next.
#[derive(Default)]
pub(crate) struct Series<'a> {
    label_refs: Vec<u64>,
    /// By name.
    labels: Vec<(Symbol<'a>, Symbol<'a>)>,
    pub(crate) samples: Vec<(i64, f64)>,
    pub(crate) histograms: Vec<&'a [u8]>,
    pub(crate) exemplars: Vec<&'a [u8]>,
    metadata: RawMetadata,
}

/// What is said of the family; help and unit are references.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RawMetadata {
    pub(crate) metric_type: MetricType,
    pub(crate) help: u64,
    pub(crate) unit: u64,
}

impl<'a> Series<'a> {
    pub(crate) fn read(&mut self, bytes: &'a [u8]) -> Result<(), Malformed> {
        self.label_refs.clear();
        self.samples.clear();
        self.histograms.clear();
        self.exemplars.clear();
        self.metadata = RawMetadata::default();
        let mut fields = Fields::new(bytes);
        while let Some((number, content)) = fields.next()? {
            match (number, content) {
                (1, content) => content.varints(|n| self.label_refs.push(reference(n)))?,
                (2, Content::Bytes(sample)) => self.samples.push(read_sample(sample)?),
                (3, Content::Bytes(histogram)) => self.histograms.push(histogram),
                (4, Content::Bytes(exemplar)) => self.exemplars.push(exemplar),
                (5, Content::Bytes(metadata)) => read_metadata(metadata, &mut self.metadata)?,
                (2..=5, _) => return Err(Malformed::WrongWireType),
                _ => {}
            }
        }
        Ok(())
    }

    pub(crate) fn sample_count(&self) -> u64 {
        (self.samples.len() + self.histograms.len()) as u64
    }

    /// Finds the labels; to be called before they are asked for.
    pub(crate) fn resolve(&mut self, symbols: &Symbols<'a>) -> Result<(), String> {
        resolve(&self.label_refs, symbols, &mut self.labels)
            .map_err(|why| format!("parsing labels for series {}: {why}", refs_in_words(&self.label_refs)))
    }

    /// What is said of the family, with references that lead somewhere.
    pub(crate) fn metadata(&self, symbols: &Symbols<'a>) -> Result<RawMetadata, String> {
        for (what, at) in [("unit", self.metadata.unit), ("help", self.metadata.help)] {
            if symbols.get(at).is_none() {
                return Err(format!(
                    "parsing metadata for series {}: metadata {what}_ref {at} outside of symbols table (size {})",
                    refs_in_words(&self.label_refs),
                    symbols.len()
                ));
            }
        }
        Ok(self.metadata)
    }

    /// Whether the labels can be those of a series, and there is something to be stored.
    pub(crate) fn check(&self) -> Result<(), String> {
        let is_text = |symbol: &Symbol<'_>| matches!(symbol, Symbol::Text(_));
        let can_be =
            |(name, value): &(Symbol<'_>, Symbol<'_>)| is_text(name) && is_text(value) && !name.bytes().is_empty();
        let is_name = |(name, value): &(Symbol<'_>, Symbol<'_>)| {
            name.bytes() == METRIC_NAME.as_bytes() && !value.bytes().is_empty()
        };
        if !self.labels.iter().all(can_be) || !self.labels.iter().any(is_name) {
            return Err(format!("invalid metric name or labels, got {}", self.in_words()));
        }
        if let Some([(twice, _), _]) = self.labels.array_windows().find(|[a, b]| a.0.bytes() == b.0.bytes()) {
            let twice = twice.to_text();
            let labels = self.in_words();
            return Err(format!("invalid labels for series, labels {labels}, duplicated label {}", shortened(twice)));
        }
        if self.sample_count() == 0 {
            return Err(format!(
                "TimeSeries must contain at least one sample or histogram for series {}",
                self.in_words()
            ));
        }
        Ok(())
    }

    /// Names and values of labels that were checked.
    pub(crate) fn texts(&self) -> impl Iterator<Item = (&'a str, &'a str)> + Clone + '_ {
        self.labels.iter().filter_map(|label| match label {
            (Symbol::Text(name), Symbol::Text(value)) => Some((*name, *value)),
            _ => None,
        })
    }

    pub(crate) fn give_exemplar(
        &self,
        bytes: &[u8],
        symbols: &Symbols<'a>,
        id: SeriesId,
        sink: &mut SampleSink<'_>,
    ) -> Result<(), Malformed> {
        let Exemplar { label_refs, at, value } = read_exemplar(bytes)?;
        let mut labels = Vec::new();
        if let Err(why) = resolve(&label_refs, symbols, &mut labels) {
            let why = || format!("parsing exemplar for series {}: {why}", self.in_words());
            sink.reject(RejectReason::InvalidLabels, 0, why);
            return Ok(());
        }
        let texts: Option<Vec<(&str, &str)>> = labels
            .iter()
            .map(|label| match label {
                (Symbol::Text(name), Symbol::Text(value)) => Some((*name, *value)),
                _ => None,
            })
            .collect();
        let chars =
            |texts: &Vec<(&str, &str)>| texts.iter().map(|(n, v)| n.chars().count() + v.chars().count()).sum::<usize>();
        let fits = |texts: &Vec<(&str, &str)>| chars(texts) <= EXEMPLAR_LABEL_CHARS_MAX;
        match texts.filter(fits).and_then(Labels::from_pairs) {
            Some(labels) => sink.exemplar(id, at, value, &labels),
            // Prometheus logs it and stores the rest, too.
            None => sink.reject(RejectReason::InvalidExemplar, 0, || {
                "labels of an exemplar are too long or invalid".to_owned()
            }),
        }
        Ok(())
    }

    /// As Prometheus prints labels, those that cannot be included.
    fn in_words(&self) -> String {
        let mut out = String::from("{");
        for (i, (name, value)) in self.labels.iter().enumerate() {
            if out.len() > WORDS_BYTES_MAX {
                break;
            }
            let (name, value) = (shortened(name.to_text()), shortened(value.to_text()));
            out.push_str(if i > 0 { ", " } else { "" });
            write_label(&mut out, &name, &value).expect("a String takes every write");
        }
        out.push('}');
        out
    }
}

/// References are 32 bits; what is longer is cut off, as by Go's decoder.
fn reference(n: u64) -> u64 {
    n & u64::from(u32::MAX)
}

fn resolve<'a>(refs: &[u64], symbols: &Symbols<'a>, labels: &mut Vec<(Symbol<'a>, Symbol<'a>)>) -> Result<(), String> {
    labels.clear();
    let (pairs, rest) = refs.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(format!("invalid labelRefs length {}", refs.len()));
    }
    for [name, value] in pairs {
        let (Some(n), Some(v)) = (symbols.get(*name), symbols.get(*value)) else {
            let size = symbols.len();
            return Err(format!("labelRefs {name} (name) = {value} (value) outside of symbols table (size {size})"));
        };
        labels.push((n, v));
    }
    if !labels.is_sorted_by(|a, b| a.0.bytes() <= b.0.bytes()) {
        labels.sort_by(|a, b| a.0.bytes().cmp(b.0.bytes()));
    }
    Ok(())
}

/// As Go prints a list of numbers.
fn refs_in_words(refs: &[u64]) -> String {
    let words: Vec<String> = refs.iter().take(200).map(u64::to_string).collect();
    let more = if refs.len() > words.len() { " ..." } else { "" };
    format!("[{}{more}]", words.join(" "))
}

fn shortened(mut text: String) -> String {
    if text.len() > WORDS_BYTES_MAX {
        text.truncate(text.floor_char_boundary(WORDS_BYTES_MAX));
    }
    text
}

fn read_metadata(bytes: &[u8], metadata: &mut RawMetadata) -> Result<(), Malformed> {
    let mut fields = Fields::new(bytes);
    while let Some((number, content)) = fields.next()? {
        match (number, content) {
            (1, Content::Varint(n)) => metadata.metric_type = MetricType::of_code(n),
            (3, Content::Varint(n)) => metadata.help = reference(n),
            (4, Content::Varint(n)) => metadata.unit = reference(n),
            (1 | 3 | 4, _) => return Err(Malformed::WrongWireType),
            _ => {}
        }
    }
    Ok(())
}

/// An exemplar as it is decoded.
#[derive(Default)]
pub(crate) struct Exemplar {
    label_refs: Vec<u64>,
    at: i64,
    value: f64,
}

pub(crate) fn read_exemplar(bytes: &[u8]) -> Result<Exemplar, Malformed> {
    let mut exemplar = Exemplar::default();
    let mut fields = Fields::new(bytes);
    while let Some((number, content)) = fields.next()? {
        match (number, content) {
            (1, content) => content.varints(|n| exemplar.label_refs.push(reference(n)))?,
            (2, Content::Fixed64(bits)) => exemplar.value = f64::from_bits(bits),
            (3, Content::Varint(n)) => exemplar.at = n.cast_signed(),
            (2 | 3, _) => return Err(Malformed::WrongWireType),
            _ => {}
        }
    }
    Ok(exemplar)
}
