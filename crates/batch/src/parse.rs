//! Reading batches. Everything is checked at once, so that what follows cannot fail half-way.

use std::sync::Arc;

use bytes::Bytes;
use model::{PackedLabels, PartitionId, SeriesId, TenantId};

use crate::floats::FloatColumn;
use crate::histogram::HistogramIter;
use crate::section::{Sections, histograms};
use crate::varint::take_uvarint;
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
    tenant: TenantId,
    /// What the first timestamp of each section is a difference to.
    base: i64,
    bytes: Bytes,
    /// Shared: a batch is cloned for each replica that it is sent to.
    places: Arc<[Place]>,
    mint: i64,
    maxt: i64,
    sample_count: usize,
}

/// Where a section is in the bytes of a batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) partition: PartitionId,
    /// Which columns it has.
    pub(crate) columns: u8,
    /// Where the length of the first column begins.
    pub(crate) begin: u32,
    pub(crate) end: u32,
}

pub(crate) struct Cursor<'a>(pub(crate) &'a [u8]);

impl<'a> Cursor<'a> {
    pub(crate) fn take(&mut self, n: usize) -> Option<&'a [u8]> {
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

    pub(crate) fn sized(&mut self) -> Option<&'a [u8]> {
        let n = self.u32()?;
        self.take(usize::try_from(n).ok()?)
    }

    pub(crate) fn sized_by_uvarint(&mut self) -> Option<&'a [u8]> {
        let n = take_uvarint(&mut self.0)?;
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
        let (header, base) = read_header(&mut c).ok_or(ParseError::Malformed("header"))?;
        let tenant = read_tenant(&mut c).ok_or(ParseError::Malformed("tenant"))?;
        let section_count = take_uvarint(&mut c.0).ok_or(ParseError::Malformed("number of sections"))?;
        let mut batch = Batch {
            header,
            tenant,
            base,
            places: Arc::default(),
            mint: i64::MAX,
            maxt: i64::MIN,
            sample_count: 0,
            bytes: bytes.clone(),
        };
        let mut places: Vec<Place> =
            Vec::with_capacity(usize::try_from(section_count.min(64)).expect("it is at most 64"));
        let mut scratch = Vec::new();
        for _ in 0..section_count {
            let place = batch.check_section(bytes.len(), &mut c, &mut scratch)?;
            if places.last().is_some_and(|before| before.partition >= place.partition) {
                return Err(ParseError::Malformed("partitions are not in order"));
            }
            places.push(place);
        }
        if !c.0.is_empty() {
            return Err(ParseError::Malformed("bytes after the last section"));
        }
        batch.places = places.into();
        Ok(batch)
    }

    fn check_section(
        &mut self,
        bytes_len: usize,
        c: &mut Cursor<'_>,
        scratch: &mut Vec<u8>,
    ) -> Result<Place, ParseError> {
        let partition = take_uvarint(&mut c.0).and_then(|partition| u32::try_from(partition).ok());
        let (partition, columns) = partition.zip(c.u8()).ok_or(ParseError::Malformed("section"))?;
        if let Some(unknown) = (kind::COUNT..8).find(|k| columns >> k & 1 == 1) {
            return Err(ParseError::Kind(unknown));
        }
        let at = |c: &Cursor<'_>| u32::try_from(bytes_len - c.0.len()).expect("a batch is at most 1 MiB");
        let begin = at(c);
        for k in kind::of(columns) {
            let column = c.sized_by_uvarint().ok_or(ParseError::Malformed("section"))?;
            self.check_column(k, column, scratch)?;
        }
        Ok(Place { partition: PartitionId(partition), columns, begin, end: at(c) })
    }

    fn check_column(&mut self, k: u8, bytes: &[u8], scratch: &mut Vec<u8>) -> Result<(), ParseError> {
        match k {
            kind::DEFINITIONS => check_definitions(bytes, &self.tenant, scratch),
            kind::FLOATS => {
                let column = FloatColumn::check(bytes, self.base).ok_or(ParseError::Malformed("float column"))?;
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

    /// Whose it is.
    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// By partition, in order; each partition once.
    pub fn sections(&self) -> Sections<'_> {
        Sections { tenant: &self.tenant, base: self.base, bytes: &self.bytes, places: self.places.iter() }
    }

    pub(crate) fn base(&self) -> i64 {
        self.base
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

fn read_header(c: &mut Cursor<'_>) -> Option<(BatchHeader, i64)> {
    let header = BatchHeader { group: c.u32()?, generation: c.u64()?, writer: c.u64()?, seq: c.u64()? };
    Some((header, i64::from_le_bytes(c.array()?)))
}

fn read_tenant(c: &mut Cursor<'_>) -> Option<TenantId> {
    let len = c.u8()?;
    TenantId::new(std::str::from_utf8(c.take(usize::from(len))?).ok()?)
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

#[cfg(test)]
mod tests;
