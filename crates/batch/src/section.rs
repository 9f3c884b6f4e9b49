//! Walking a batch that was checked.

use model::{Metadata, MetricType, PackedLabels, PartitionId, SeriesId, TenantId};

use crate::floats::FloatColumn;
use crate::histogram::HistogramIter;
use crate::kind;
use crate::parse::{Cursor, Place};

/// The sections of a batch, by partition.
#[derive(Clone, Debug)]
pub struct Sections<'a> {
    pub(crate) tenant: &'a TenantId,
    pub(crate) base: i64,
    pub(crate) bytes: &'a [u8],
    pub(crate) places: std::slice::Iter<'a, Place>,
}

impl<'a> Iterator for Sections<'a> {
    type Item = Section<'a>;

    fn next(&mut self) -> Option<Section<'a>> {
        let place = self.places.next()?;
        Some(Section {
            tenant: self.tenant,
            partition: place.partition,
            base: self.base,
            columns: place.columns,
            bytes: &self.bytes[place.begin as usize..place.end as usize],
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.places.size_hint()
    }
}

impl ExactSizeIterator for Sections<'_> {}

/// The part of a batch for one partition.
#[derive(Clone, Copy, Debug)]
pub struct Section<'a> {
    /// Whose: the batch's.
    pub tenant: &'a TenantId,
    /// Which partition.
    pub partition: PartitionId,
    pub(crate) base: i64,
    /// Which columns there are, one bit each.
    pub(crate) columns: u8,
    /// The columns with their lengths.
    pub(crate) bytes: &'a [u8],
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

impl<'a> Section<'a> {
    /// Kinds and bytes.
    pub(crate) fn raw_columns(&self) -> impl Iterator<Item = (u8, &'a [u8])> + use<'a> {
        let mut c = Cursor(self.bytes);
        kind::of(self.columns).map(move |k| (k, c.sized_by_uvarint().expect("checked by Batch::parse")))
    }

    /// Whether any of it says what an id means.
    pub fn has_definitions(&self) -> bool {
        self.columns >> kind::DEFINITIONS & 1 == 1
    }

    /// In an order in which they can be applied: definitions come before the samples that need them.
    pub fn columns(&self) -> impl Iterator<Item = Column<'a>> + use<'a> {
        let base = self.base;
        self.raw_columns().map(move |(k, bytes)| match k {
            kind::DEFINITIONS => Column::Definitions(DefinitionIter(bytes)),
            kind::FLOATS => Column::Floats(FloatColumn::read(bytes, base).expect("checked by Batch::parse")),
            kind::HISTOGRAMS | kind::FLOAT_HISTOGRAMS => Column::Histograms(histograms(k, bytes)),
            kind::EXEMPLARS => Column::Exemplars(ExemplarIter(bytes)),
            kind::METADATA => Column::Metadata(MetadataIter(bytes)),
            _ => unreachable!("Batch::parse refuses other kinds"),
        })
    }
}

pub(crate) fn histograms(k: u8, bytes: &[u8]) -> HistogramIter<'_> {
    HistogramIter { bytes, is_float: k == kind::FLOAT_HISTOGRAMS }
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
        let metric_type = MetricType::of_code(u64::from(c.u8()?));
        let mut text = || std::str::from_utf8(c.sized()?).ok().map(str::to_owned);
        let (name, help, unit) = (text()?, text()?, text()?);
        self.0 = c.0;
        Some(MetadataEntry { name, metadata: Metadata { metric_type, help, unit } })
    }
}
