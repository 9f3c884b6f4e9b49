//! Reading batches. Everything is checked at once, so that what follows cannot fail half-way.

use std::sync::Arc;

use bytes::Bytes;
use model::{Metadata, MetricType, PackedLabels, PartitionId, SeriesId, TenantId};

use crate::histogram::HistogramIter;
use crate::varint::{take_uvarint, take_varint};
use crate::{BATCH_BYTES_MAX, BatchHeader, VERSION, kind};

/// Why bytes are no batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Longer than [`BATCH_BYTES_MAX`].
    #[error("batch of {bytes} bytes is longer than {BATCH_BYTES_MAX}")]
    TooLong {
        /// Length.
        bytes: usize,
    },
    /// A version that this program does not know.
    #[error("unknown batch version {0}")]
    Version(u8),
    /// A kind of column that this program does not know: refused whole, so that replicas stay equal.
    #[error("unknown column kind {0}")]
    Kind(u8),
    /// Bytes that do not add up.
    #[error("malformed batch: {0}")]
    Malformed(&'static str),
}

/// A batch whose bytes were checked. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Batch {
    header: BatchHeader,
    bytes: Bytes,
    /// Shared: a batch is cloned for each replica that it is sent to.
    sections: Arc<[Section]>,
    mint: i64,
    maxt: i64,
    sample_count: usize,
}

/// The part of a batch for one tenant and partition.
#[derive(Clone, Debug)]
pub struct Section {
    /// Whose.
    pub tenant: TenantId,
    /// Which partition.
    pub partition: PartitionId,
    columns: Vec<(u8, Bytes)>,
}

/// One column of a section.
#[derive(Clone, Debug)]
pub enum Column<'a> {
    /// What ids mean.
    Definitions(DefinitionIter<'a>),
    /// Float samples.
    Floats(FloatColumn<'a>),
    /// Native histograms, of one kind.
    Histograms(HistogramIter<'a>),
    /// Exemplars.
    Exemplars(ExemplarIter<'a>),
    /// Metadata.
    Metadata(MetadataIter<'a>),
}

pub(crate) struct Cursor<'a>(pub(crate) &'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(head)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[b]| b)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn id(&mut self) -> Option<SeriesId> {
        self.array().map(|b| SeriesId(u128::from_le_bytes(b)))
    }

    fn sized(&mut self) -> Option<&'a [u8]> {
        let n = self.u32()?;
        self.take(usize::try_from(n).ok()?)
    }
}

impl Batch {
    /// Checks and takes the bytes of a batch.
    pub fn parse(bytes: Bytes) -> Result<Batch, ParseError> {
        if bytes.len() > BATCH_BYTES_MAX {
            return Err(ParseError::TooLong { bytes: bytes.len() });
        }
        let mut c = Cursor(&bytes);
        let version = c.u8().ok_or(ParseError::Malformed("empty"))?;
        if version != VERSION {
            return Err(ParseError::Version(version));
        }
        let (header, section_count) = read_header(&mut c).ok_or(ParseError::Malformed("header"))?;
        let mut batch = Batch {
            header,
            sections: Arc::default(),
            mint: i64::MAX,
            maxt: i64::MIN,
            sample_count: 0,
            bytes: bytes.clone(),
        };
        let (mut sections, mut scratch) = (Vec::with_capacity(section_count.min(64)), Vec::new());
        for _ in 0..section_count {
            let section = read_section(&bytes, &mut c)?;
            for (k, column) in &section.columns {
                batch.check_column(*k, column, &section.tenant, &mut scratch)?;
            }
            sections.push(section);
        }
        if !c.0.is_empty() {
            return Err(ParseError::Malformed("bytes after the last section"));
        }
        batch.sections = sections.into();
        Ok(batch)
    }

    fn check_column(
        &mut self,
        k: u8,
        bytes: &[u8],
        tenant: &TenantId,
        scratch: &mut Vec<u8>,
    ) -> Result<(), ParseError> {
        match k {
            kind::DEFINITIONS => check_definitions(bytes, tenant, scratch),
            kind::FLOATS => {
                let column = FloatColumn::check(bytes).ok_or(ParseError::Malformed("float column"))?;
                self.mint = self.mint.min(column.mint);
                self.maxt = self.maxt.max(column.maxt);
                self.sample_count += column.sample_count;
                Ok(())
            }
            kind::HISTOGRAMS | kind::FLOAT_HISTOGRAMS => self.check_histograms(histograms(k, bytes)),
            kind::EXEMPLARS => check_exemplars(bytes),
            kind::METADATA => check_metadata(bytes),
            other => Err(ParseError::Kind(other)),
        }
    }

    fn check_histograms(&mut self, mut histograms: HistogramIter<'_>) -> Result<(), ParseError> {
        while !histograms.bytes.is_empty() {
            let entry = histograms.take_entry().ok_or(ParseError::Malformed("histogram"))?;
            self.mint = self.mint.min(entry.timestamp);
            self.maxt = self.maxt.max(entry.timestamp);
            self.sample_count += 1;
        }
        Ok(())
    }

    /// Where it comes from.
    pub fn header(&self) -> BatchHeader {
        self.header
    }

    /// The bytes as they were received.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// By tenant and partition.
    pub fn sections(&self) -> &[Section] {
        &self.sections
    }

    /// Least and greatest timestamp of samples; `None` where there are no samples.
    pub fn time_bounds(&self) -> Option<(i64, i64)> {
        (self.sample_count > 0).then_some((self.mint, self.maxt))
    }

    /// Samples in all sections, floats and histograms.
    pub fn sample_count(&self) -> usize {
        self.sample_count
    }
}

fn read_header(c: &mut Cursor<'_>) -> Option<(BatchHeader, usize)> {
    let header = BatchHeader { group: c.u32()?, generation: c.u64()?, writer: c.u64()?, seq: c.u64()? };
    Some((header, usize::try_from(c.u32()?).ok()?))
}

fn read_section(bytes: &Bytes, c: &mut Cursor<'_>) -> Result<Section, ParseError> {
    let mut read = || -> Option<Section> {
        let tenant_len = c.u8()?;
        let tenant = std::str::from_utf8(c.take(usize::from(tenant_len))?).ok()?;
        let tenant = TenantId::new(tenant)?;
        let partition = PartitionId(c.u32()?);
        let column_count = c.u8()?;
        let mut columns = Vec::with_capacity(usize::from(column_count));
        for _ in 0..column_count {
            let k = c.u8()?;
            columns.push((k, bytes.slice_ref(c.sized()?)));
        }
        Some(Section { tenant, partition, columns })
    };
    read().ok_or(ParseError::Malformed("section"))
}

fn histograms(k: u8, bytes: &[u8]) -> HistogramIter<'_> {
    HistogramIter { bytes, is_float: k == kind::FLOAT_HISTOGRAMS }
}

fn check_definitions(bytes: &[u8], tenant: &TenantId, scratch: &mut Vec<u8>) -> Result<(), ParseError> {
    let mut c = Cursor(bytes);
    while !c.0.is_empty() {
        let (id, packed) = c.id().zip(c.sized()).ok_or(ParseError::Malformed("definition"))?;
        PackedLabels::check(packed).ok_or(ParseError::Malformed("labels of a definition"))?;
        scratch.clear();
        SeriesId::put_tenant(tenant, scratch);
        scratch.extend_from_slice(packed);
        if SeriesId::of_packed(scratch) != id {
            return Err(ParseError::Malformed("a definition's labels have another id"));
        }
    }
    Ok(())
}

fn check_exemplars(bytes: &[u8]) -> Result<(), ParseError> {
    let mut c = Cursor(bytes);
    while !c.0.is_empty() {
        let ok = c.id().is_some() && c.u64().is_some() && c.u64().is_some();
        let labels = c.sized().and_then(PackedLabels::check);
        if !ok || labels.is_none() {
            return Err(ParseError::Malformed("exemplar"));
        }
    }
    Ok(())
}

fn check_metadata(bytes: &[u8]) -> Result<(), ParseError> {
    let mut c = Cursor(bytes);
    while !c.0.is_empty() {
        let ok = c.u8().is_some_and(|t| t <= 7);
        let texts = [c.sized(), c.sized(), c.sized()];
        if !ok || texts.iter().any(|t| t.is_none_or(|t| std::str::from_utf8(t).is_err())) {
            return Err(ParseError::Malformed("metadata"));
        }
    }
    Ok(())
}

impl Section {
    /// In the order written: definitions before the samples that need them.
    pub fn columns(&self) -> impl Iterator<Item = Column<'_>> {
        self.columns.iter().map(|(k, bytes)| match *k {
            kind::DEFINITIONS => Column::Definitions(DefinitionIter(bytes)),
            kind::FLOATS => Column::Floats(FloatColumn::check(bytes).expect("checked by Batch::parse")),
            kind::HISTOGRAMS | kind::FLOAT_HISTOGRAMS => Column::Histograms(histograms(*k, bytes)),
            kind::EXEMPLARS => Column::Exemplars(ExemplarIter(bytes)),
            kind::METADATA => Column::Metadata(MetadataIter(bytes)),
            _ => unreachable!("Batch::parse refuses other kinds"),
        })
    }
}

/// What an id means.
#[derive(Clone, Copy)]
pub struct Definition<'a> {
    /// The id.
    pub id: SeriesId,
    /// Its labels.
    pub labels: PackedLabels<'a>,
}

/// See [`Column::Definitions`].
#[derive(Clone, Debug)]
pub struct DefinitionIter<'a>(&'a [u8]);

impl<'a> Iterator for DefinitionIter<'a> {
    type Item = Definition<'a>;
    fn next(&mut self) -> Option<Definition<'a>> {
        let mut c = Cursor(self.0);
        let (id, packed) = (c.id()?, c.sized()?);
        self.0 = c.0;
        let labels = PackedLabels::trusted(packed);
        Some(Definition { id, labels })
    }
}

/// The float samples of a section: runs of samples of one series each.
#[derive(Clone, Debug)]
pub struct FloatColumn<'a> {
    ids: &'a [u8],
    run_counts: &'a [u8],
    timestamps: &'a [u8],
    values: &'a [u8],
    sample_count: usize,
    mint: i64,
    maxt: i64,
}

impl<'a> FloatColumn<'a> {
    fn check(bytes: &'a [u8]) -> Option<FloatColumn<'a>> {
        let mut c = Cursor(bytes);
        let run_count = usize::try_from(c.u32()?).ok()?;
        let sample_count = usize::try_from(c.u32()?).ok()?;
        let ids = c.take(run_count.checked_mul(16)?)?;
        let run_counts = c.0;
        let mut total: u64 = 0;
        for _ in 0..run_count {
            let n = take_uvarint(&mut c.0)?;
            if n == 0 {
                return None;
            }
            total = total.checked_add(n)?;
        }
        if total != sample_count as u64 {
            return None;
        }
        let run_counts = &run_counts[..run_counts.len() - c.0.len()];
        let split = c.0.len().checked_sub(sample_count.checked_mul(8)?)?;
        let (timestamps, values) = c.0.split_at(split);
        let (mut rest, mut t, mut mint, mut maxt) = (timestamps, 0i64, i64::MAX, i64::MIN);
        for _ in 0..sample_count {
            t = t.wrapping_add(take_varint(&mut rest)?);
            mint = mint.min(t);
            maxt = maxt.max(t);
        }
        rest.is_empty().then_some(FloatColumn { ids, run_counts, timestamps, values, sample_count, mint, maxt })
    }

    /// Number of runs: at most the number of series.
    pub fn run_count(&self) -> usize {
        self.ids.len() / 16
    }

    /// Calls `f` for each run, in order, with its samples as (timestamp in ms, value).
    #[inline]
    pub fn for_each_run(&self, mut f: impl FnMut(SeriesId, &mut dyn Iterator<Item = (i64, f64)>)) {
        let (mut counts, mut timestamps, mut t) = (self.run_counts, self.timestamps, 0i64);
        let mut values = self.values.chunks_exact(8);
        for id in self.ids.chunks_exact(16) {
            let id = SeriesId(u128::from_le_bytes(id.try_into().expect("chunks of 16 bytes")));
            let n = take_uvarint(&mut counts).expect("checked");
            let mut left = n;
            let mut samples = std::iter::from_fn(|| {
                left = left.checked_sub(1)?;
                t = t.wrapping_add(take_varint(&mut timestamps).expect("checked"));
                let v = values.next().expect("checked");
                Some((t, f64::from_bits(u64::from_le_bytes(v.try_into().expect("chunks of 8 bytes")))))
            });
            f(id, &mut samples);
            // The next run begins behind this one whether or not the caller took all of it.
            samples.by_ref().for_each(drop);
        }
    }

    /// A hash of the ids in their order.
    pub fn ids_hash(&self) -> u64 {
        xxhash_rust::xxh3::xxh3_64(self.ids)
    }

    /// The series of the column, in order; one may occur again.
    pub fn ids(&self) -> impl Iterator<Item = SeriesId> {
        self.ids.chunks_exact(16).map(|b| SeriesId(u128::from_le_bytes(b.try_into().expect("chunks of 16 bytes"))))
    }
}

/// One exemplar.
#[derive(Clone, Copy)]
pub struct ExemplarEntry<'a> {
    /// The series.
    pub id: SeriesId,
    /// When, in ms.
    pub timestamp: i64,
    /// What was observed.
    pub value: f64,
    /// Labels of the exemplar.
    pub labels: PackedLabels<'a>,
}

/// See [`Column::Exemplars`].
#[derive(Clone, Debug)]
pub struct ExemplarIter<'a>(&'a [u8]);

impl<'a> Iterator for ExemplarIter<'a> {
    type Item = ExemplarEntry<'a>;
    fn next(&mut self) -> Option<ExemplarEntry<'a>> {
        let mut c = Cursor(self.0);
        let id = c.id()?;
        let (timestamp, value) = (i64::from_le_bytes(c.array()?), f64::from_bits(c.u64()?));
        let labels = PackedLabels::trusted(c.sized()?);
        self.0 = c.0;
        Some(ExemplarEntry { id, timestamp, value, labels })
    }
}

/// Metadata of one metric family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetadataEntry {
    /// The family.
    pub name: String,
    /// What is known of it.
    pub metadata: Metadata,
}

/// See [`Column::Metadata`].
#[derive(Clone, Debug)]
pub struct MetadataIter<'a>(&'a [u8]);

impl Iterator for MetadataIter<'_> {
    type Item = MetadataEntry;
    fn next(&mut self) -> Option<MetadataEntry> {
        let mut c = Cursor(self.0);
        let metric_type = match c.u8()? {
            1 => MetricType::Counter,
            2 => MetricType::Gauge,
            3 => MetricType::Histogram,
            4 => MetricType::GaugeHistogram,
            5 => MetricType::Summary,
            6 => MetricType::Info,
            7 => MetricType::StateSet,
            _ => MetricType::Unknown,
        };
        let mut text = || std::str::from_utf8(c.sized()?).ok().map(str::to_owned);
        let (name, help, unit) = (text()?, text()?, text()?);
        self.0 = c.0;
        Some(MetadataEntry { name, metadata: Metadata { metric_type, help, unit } })
    }
}

#[cfg(test)]
mod tests;
