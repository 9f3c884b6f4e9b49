//! `prometheus.WriteRequest` as a source of samples.

use model::{Labels, METRIC_NAME, Metadata, MetricType, PackedLabels, SeriesId};
use protowire::{Content, Fields, Malformed};
use storage::RejectReason;
use writer::{SampleSink, SampleSource};

use crate::histogram;

/// A decompressed request; decoded while it is walked.
#[derive(Clone, Copy)]
pub struct WriteRequest<'a> {
    bytes: &'a [u8],
}

/// What a request contains, by count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Series.
    pub series: u64,
    /// Float samples.
    pub samples: u64,
    /// Native histograms.
    pub histograms: u64,
    /// Exemplars.
    pub exemplars: u64,
}

/// One series of the request; its vectors are used again for the next.
#[derive(Default)]
struct Series<'a> {
    labels: Vec<(&'a [u8], &'a [u8])>,
    samples: Vec<(i64, f64)>,
    exemplars: Vec<&'a [u8]>,
    histograms: Vec<&'a [u8]>,
}

impl<'a> WriteRequest<'a> {
    /// The request in `bytes`, which are not compressed.
    pub fn new(bytes: &'a [u8]) -> WriteRequest<'a> {
        WriteRequest { bytes }
    }

    /// Decodes everything and counts.
    pub fn validate(&self) -> Result<Counts, String> {
        let mut counts = Counts::default();
        self.for_each(
            |series| {
                counts.series += 1;
                counts.samples += series.samples.len() as u64;
                counts.histograms += series.histograms.len() as u64;
                counts.exemplars += series.exemplars.len() as u64;
                series.histograms.iter().try_for_each(|h| histogram::read(h).map(|_| ()))?;
                series.exemplars.iter().try_for_each(|e| read_exemplar(e).map(|_| ()))
            },
            |_, _| {},
        )
        .map_err(|e| e.to_string())?;
        Ok(counts)
    }

    fn for_each(
        &self,
        mut on_series: impl FnMut(&mut Series<'a>) -> Result<(), Malformed>,
        mut on_metadata: impl FnMut(&str, &Metadata),
    ) -> Result<(), Malformed> {
        let mut fields = Fields::new(self.bytes);
        let mut series = Series::default();
        while let Some((number, content)) = fields.next()? {
            match (number, content) {
                (1, Content::Bytes(bytes)) => {
                    series.read(bytes)?;
                    on_series(&mut series)?;
                }
                (3, Content::Bytes(bytes)) => {
                    let (name, metadata) = read_metadata(bytes)?;
                    on_metadata(&name, &metadata);
                }
                (1 | 3, _) => return Err(Malformed::WrongWireType),
                _ => {}
            }
        }
        Ok(())
    }
}

impl<'a> Series<'a> {
    fn read(&mut self, bytes: &'a [u8]) -> Result<(), Malformed> {
        self.labels.clear();
        self.samples.clear();
        self.exemplars.clear();
        self.histograms.clear();
        let mut fields = Fields::new(bytes);
        fields.plain_labels(|name, value| self.labels.push((name, value)));
        while let Some((number, content)) = fields.next()? {
            match (number, content) {
                (1, Content::Bytes(label)) => self.labels.push(protowire::label(label)?),
                (2, Content::Bytes(sample)) => self.samples.push(read_sample(sample)?),
                (3, Content::Bytes(exemplar)) => self.exemplars.push(exemplar),
                (4, Content::Bytes(histogram)) => self.histograms.push(histogram),
                (1..=4, _) => return Err(Malformed::WrongWireType),
                _ => {}
            }
        }
        Ok(())
    }

    /// Sorts labels and leaves empty ones out. Prometheus sends them sorted; others may not.
    fn normalise(&mut self) {
        if self.labels.iter().any(|(_, v)| v.is_empty()) {
            self.labels.retain(|(_, v)| !v.is_empty());
        }
        if !self.labels.is_sorted() {
            self.labels.sort_unstable();
        }
    }

    fn give(&mut self, sink: &mut SampleSink<'_>) -> Result<(), Malformed> {
        let count = (self.samples.len() + self.histograms.len()) as u64;
        if count == 0 && self.exemplars.is_empty() {
            return Ok(());
        }
        self.normalise();
        let labels = &self.labels;
        let pack = |out: &mut Vec<u8>| {
            for (name, value) in labels {
                put_text(out, name);
                put_text(out, value);
            }
        };
        let Some(id) = sink.packed_series(pack, check_labels, count) else { return Ok(()) };
        for (t, v) in &self.samples {
            sink.sample(id, *t, *v);
        }
        for bytes in &self.histograms {
            let (t, value) = histogram::read(bytes)?;
            sink.histogram(id, t, value);
        }
        self.exemplars.iter().try_for_each(|e| give_exemplar(e, id, sink))
    }
}

impl SampleSource for WriteRequest<'_> {
    fn walk(&self, sink: &mut SampleSink<'_>) -> Result<(), String> {
        let mut families = Vec::new();
        let walked = self
            .for_each(|series| series.give(sink), |name, metadata| families.push((name.to_owned(), metadata.clone())));
        walked.map_err(|e| e.to_string())?;
        for (name, metadata) in families {
            sink.metadata(&name, &metadata);
        }
        Ok(())
    }
}

pub(crate) fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    let mut n = text.len();
    while n >= 0x80 {
        out.push((n & 0x7f) as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
    out.extend_from_slice(text);
}

/// Labels of a series that is new to us: sorted by [`Series::normalise`], everything else is to be checked.
fn check_labels(packed: &[u8]) -> Result<(), String> {
    let labels = PackedLabels::check(packed).ok_or("labels are empty, duplicated or not UTF-8")?.to_labels();
    if labels.get(METRIC_NAME).is_none() {
        return Err(format!("labels without a metric name: {labels}"));
    }
    Ok(())
}

pub(crate) fn read_sample(bytes: &[u8]) -> Result<(i64, f64), Malformed> {
    let (mut t, mut v) = (0, 0.0);
    let mut fields = Fields::new(bytes);
    while let Some((number, content)) = fields.next()? {
        match (number, content) {
            (1, Content::Fixed64(bits)) => v = f64::from_bits(bits),
            (2, Content::Varint(n)) => t = n.cast_signed(),
            (1 | 2, _) => return Err(Malformed::WrongWireType),
            _ => {}
        }
    }
    Ok((t, v))
}

/// Labels, timestamp and value.
type RawExemplar<'a> = (Vec<(&'a [u8], &'a [u8])>, i64, f64);

fn read_exemplar(bytes: &[u8]) -> Result<RawExemplar<'_>, Malformed> {
    let (mut labels, mut t, mut v) = (Vec::new(), 0, 0.0);
    let mut fields = Fields::new(bytes);
    while let Some((number, content)) = fields.next()? {
        match (number, content) {
            (1, Content::Bytes(label)) => labels.push(protowire::label(label)?),
            (2, Content::Fixed64(bits)) => v = f64::from_bits(bits),
            (3, Content::Varint(n)) => t = n.cast_signed(),
            (1..=3, _) => return Err(Malformed::WrongWireType),
            _ => {}
        }
    }
    Ok((labels, t, v))
}

/// Longest labels of an exemplar, in characters: the limit of OpenMetrics.
pub(crate) const EXEMPLAR_LABEL_CHARS_MAX: usize = 128;

fn give_exemplar(bytes: &[u8], id: SeriesId, sink: &mut SampleSink<'_>) -> Result<(), Malformed> {
    let (labels, t, v) = read_exemplar(bytes)?;
    let texts: Result<Vec<_>, _> = labels
        .iter()
        .map(|(n, v)| Ok((std::str::from_utf8(n)?, std::str::from_utf8(v)?)))
        .collect::<Result<_, std::str::Utf8Error>>();
    let chars =
        |texts: &Vec<(&str, &str)>| texts.iter().map(|(n, v)| n.chars().count() + v.chars().count()).sum::<usize>();
    match texts.ok().filter(|t| chars(t) <= EXEMPLAR_LABEL_CHARS_MAX).and_then(Labels::from_pairs) {
        Some(labels) => sink.exemplar(id, t, v, &labels),
        None => {
            sink.reject(RejectReason::InvalidExemplar, 0, || "labels of an exemplar are too long or invalid".to_owned())
        }
    }
    Ok(())
}

fn read_metadata(bytes: &[u8]) -> Result<(String, Metadata), Malformed> {
    let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
    let (mut name, mut metadata) = (String::new(), Metadata::default());
    let mut fields = Fields::new(bytes);
    while let Some((number, content)) = fields.next()? {
        match (number, content) {
            (1, Content::Varint(n)) => metadata.metric_type = MetricType::of_code(n),
            (2, Content::Bytes(b)) => name = text(b),
            (4, Content::Bytes(b)) => metadata.help = text(b),
            (5, Content::Bytes(b)) => metadata.unit = text(b),
            (1 | 2 | 4 | 5, _) => return Err(Malformed::WrongWireType),
            _ => {}
        }
    }
    Ok((name, metadata))
}

#[cfg(test)]
mod tests;
