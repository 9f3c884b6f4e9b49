//! Cutting the samples of one tenant and range out of the head into a block.

use std::path::Path;
use std::sync::Arc;

use block::{BlockMeta, LocalDirectory, Origin, SymbolsBuilder, WriterLimits};
use head::{Head, Order};
use model::{TenantId, TimeRange, TimestampMs};
use storage::{Chunk, SelectError, SelectRequest, Series, Shard};
use ulid::Ulid;

/// Why no block was cut.
#[derive(Debug, thiserror::Error)]
pub enum CutError {
    /// The head cannot be read.
    #[error("read head")]
    Select(#[from] SelectError),
    /// The block cannot be written.
    #[error("write block")]
    Write(#[from] block::WriteError),
    /// A chunk of the head is damaged.
    #[error("decode a chunk of the head")]
    Decode(#[from] chunkenc::DecodeError),
    /// The block holds nothing.
    #[error("a block without samples")]
    Empty,
}

impl CutError {
    /// Whether it is the same however often it is tried.
    pub(crate) fn is_damage(&self) -> bool {
        match self {
            CutError::Select(e) => matches!(e, SelectError::Unreadable { .. }),
            CutError::Decode(_) => true,
            CutError::Write(_) | CutError::Empty => false,
        }
    }
}

/// What is to be cut.
pub(crate) struct Cut<'a> {
    pub(crate) head: &'a Arc<Head>,
    pub(crate) tenant: &'a TenantId,
    pub(crate) range: TimeRange,
    /// Goes to `thanos.extensions`.
    pub(crate) extensions: serde_json::Value,
}

impl Cut<'_> {
    /// Writes the block `ulid` into `folder`; `None` if the tenant has no samples in the range. Holds labels and references of
    /// all series, and the chunks of some hundred.
    pub(crate) fn write(&self, folder: &Path, ulid: Ulid) -> Result<Option<BlockMeta>, CutError> {
        let mut symbols = SymbolsBuilder::default();
        let mut any = false;
        self.for_each_series(false, |s| {
            any = true;
            symbols.add_labels(&s.labels)?;
            Ok(())
        })?;
        if !any {
            return Ok(None);
        }
        let disk = Arc::new(LocalDirectory);
        let limits = WriterLimits::default();
        let mut writer = block::Writer::create(disk, folder, ulid, self.range, symbols.finish(), limits)?;
        let mut written = 0;
        let added = self.for_each_series(true, |s| {
            let chunks = trim(s.chunks, self.range)?;
            if !chunks.is_empty() {
                writer.add_series(&s.labels, &chunks)?;
                written += 1;
            }
            Ok(())
        });
        if let Err(e) = added {
            writer.abort()?;
            return Err(e);
        }
        if written == 0 {
            writer.abort()?;
            return Ok(None);
        }
        let origin = Origin {
            labels: [("tenant_id".to_owned(), self.tenant.to_string())].into(),
            source: "narthex".to_owned(),
            extensions: Some(self.extensions.clone()),
            ..Origin::default()
        };
        Ok(Some(writer.finish(origin)?))
    }

    fn for_each_series(
        &self,
        with_chunks: bool,
        mut f: impl FnMut(Series) -> Result<(), CutError>,
    ) -> Result<(), CutError> {
        let request = SelectRequest {
            tenant: self.tenant.clone(),
            range: self.range,
            matchers: Vec::new(),
            shard: Shard::ALL,
            with_chunks,
            series_max: usize::MAX,
        };
        let mut selection = self.head.select(&request, Order::Labels)?;
        while let Some(batch) = selection.next_batch()? {
            batch.into_iter().try_for_each(&mut f)?;
        }
        Ok(())
    }
}

/// The samples of `chunks` that lie in the range, in chunks that do not overlap. Chunks that need no change are kept as they are.
fn trim(chunks: Vec<Chunk>, range: TimeRange) -> Result<Vec<Chunk>, CutError> {
    let inside = chunks.iter().all(|c| range.contains(c.mint) && range.contains(c.maxt));
    let disjoint = chunks.windows(2).all(|w| w[0].maxt < w[1].mint);
    if inside && disjoint {
        return Ok(chunks);
    }
    let mut samples = Vec::new();
    for c in &chunks {
        let read = head::decode_values(c.encoding, &c.data)?;
        samples.extend(read.into_iter().filter(|(t, _)| range.contains(TimestampMs(*t))));
    }
    let chunk = |c: head::EncodedChunk| Chunk {
        encoding: c.encoding,
        mint: TimestampMs(c.mint),
        maxt: TimestampMs(c.maxt),
        data: c.data.into(),
    };
    Ok(head::encode_values(samples).into_iter().map(chunk).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use chunkenc::{XorDecoder, XorEncoder};
    use model::{Histogram, SampleValue};
    use storage::ChunkEncoding;

    /// `samples` are not empty.
    fn encode(samples: &[(i64, f64)]) -> Chunk {
        let mut encoder = XorEncoder::new();
        samples.iter().for_each(|(t, v)| encoder.append(*t, *v));
        let time = |s: Option<&(i64, f64)>| TimestampMs(s.map_or(0, |s| s.0));
        Chunk {
            encoding: ChunkEncoding::Xor,
            mint: time(samples.first()),
            maxt: time(samples.last()),
            data: encoder.into_bytes().into(),
        }
    }

    fn samples(chunks: &[Chunk]) -> Vec<(i64, f64)> {
        let mut out = Vec::new();
        for c in chunks {
            let mut d = XorDecoder::new(&c.data).unwrap();
            while let Some(s) = d.next().unwrap() {
                out.push(s);
            }
        }
        out
    }

    #[test]
    fn chunks_are_cut_to_the_range_and_joined() {
        let range = TimeRange::new(TimestampMs(10), TimestampMs(30));
        let a = encode(&[(5, 1.0), (10, 2.0), (20, 3.0)]);
        let b = encode(&[(15, 4.0), (20, 9.0), (30, 5.0)]);
        let trimmed = trim(vec![a, b], range).unwrap();
        assert_eq!(samples(&trimmed), [(10, 2.0), (15, 4.0), (20, 9.0)]);
        let whole = encode(&[(10, 1.0), (29, 1.0)]);
        assert_eq!(trim(vec![whole.clone()], range).unwrap(), [whole], "kept as it is");
        assert!(trim(vec![encode(&[(1, 1.0)])], range).unwrap().is_empty());
    }

    #[test]
    fn a_histogram_wins_over_a_float_and_begins_a_chunk() {
        let range = TimeRange::new(TimestampMs(0), TimestampMs(30));
        let histogram = |count| SampleValue::Histogram(Box::new(Histogram { count, ..Histogram::default() }));
        let encoded = head::encode_values(vec![(10, histogram(1)), (20, histogram(2))]);
        let h = &encoded[0];
        let (mint, maxt) = (TimestampMs(h.mint), TimestampMs(h.maxt));
        let histograms = Chunk { encoding: h.encoding, mint, maxt, data: h.data.clone().into() };
        let trimmed = trim(vec![encode(&[(5, 1.0), (10, 2.0), (25, 3.0)]), histograms.clone()], range).unwrap();
        assert_eq!(trimmed, [encode(&[(5, 1.0)]), histograms, encode(&[(25, 3.0)])]);
    }
}
