//! One series in memory: the open chunk, references to sealed ones, and samples that came late.

use chunkenc::XorEncoder;
use model::{Labels, join_values};
use storage::ChunkEncoding;

use crate::Error;
use crate::chunk_files::{ChunkFiles, SealedChunk};

/// A chunk is cut at so many samples, as in Prometheus.
pub(crate) const CHUNK_SAMPLES_MAX: u16 = 120;
/// … and at multiples of half an hour, so that replicas come back to equal bytes after a disturbance, and no chunk reaches across
/// a two-hour range.
pub(crate) const CHUNK_ALIGN_MS: i64 = 30 * 60 * 1000;
/// Late samples are kept unsorted up to so many, then encoded.
const LATE_SAMPLES_MAX: usize = 64;

/// A series of a partition.
pub(crate) struct MemSeries {
    pub(crate) labels: Labels,
    pub(crate) open: XorEncoder,
    /// Sealed chunks, in order of time.
    pub(crate) sealed: Vec<SealedChunk>,
    /// How many sealed chunks were dropped from the front since the series was born: `dropped + sealed.len()` only grows.
    pub(crate) dropped: u32,
    /// Set by the garbage collector: the definition must come again with the next sample, else the series goes.
    pub(crate) retiring: bool,
    pub(crate) late: Option<Box<Late>>,
}

/// Samples older than the newest one, or other values for a timestamp that is there.
#[derive(Default)]
pub(crate) struct Late {
    /// Encoded ones; they overlap anything.
    pub(crate) chunks: Vec<SealedChunk>,
    /// In the order of arrival.
    pub(crate) samples: Vec<(i64, f64)>,
}

/// What of a series a reader may see: all that was there at one moment, though more is appended meanwhile.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Visible {
    /// Sealed chunks since birth.
    pub(crate) sealed: u32,
    /// Samples of the chunk that was open.
    pub(crate) open_samples: u16,
    /// Encoded late chunks, and late samples behind them.
    pub(crate) late_chunks: u32,
    pub(crate) late_samples: u16,
}

impl MemSeries {
    pub(crate) fn new(labels: Labels) -> MemSeries {
        MemSeries { labels, open: XorEncoder::new(), sealed: Vec::new(), dropped: 0, retiring: false, late: None }
    }

    /// Adds a sample, wherever it belongs. A repeat of the newest sample changes nothing.
    pub(crate) fn append(&mut self, t: i64, v: f64, files: &ChunkFiles) -> Result<(), Error> {
        match self.newest() {
            Some((last, value)) if t <= last => {
                if t == last && value.is_some_and(|value| v.to_bits() == value.to_bits()) {
                    return Ok(());
                }
                return self.append_late(t, v, files);
            }
            _ => {}
        }
        if let Some((last, _)) = self.open.last() {
            let crosses = last.div_euclid(CHUNK_ALIGN_MS) != t.div_euclid(CHUNK_ALIGN_MS);
            if crosses || self.open.sample_count() >= CHUNK_SAMPLES_MAX {
                self.seal(files)?;
            }
        }
        self.open.append(t, v);
        Ok(())
    }

    /// The newest sample by time. In a sealed chunk its value is not at hand; a repeat then goes the way of late samples, and
    /// reading joins it.
    fn newest(&self) -> Option<(i64, Option<f64>)> {
        let open = self.open.last().map(|(t, v)| (t, Some(v)));
        open.or_else(|| self.sealed.last().map(|c| (c.maxt(), None)))
    }

    /// Closes the open chunk.
    fn seal(&mut self, files: &ChunkFiles) -> Result<(), Error> {
        if let (Some(mint), Some((maxt, _))) = (self.open.first_timestamp(), self.open.last()) {
            let chunk = files.append(mint, maxt, ChunkEncoding::Xor, self.open.bytes())?;
            self.sealed.reserve_exact(1);
            self.sealed.push(chunk);
            self.open = XorEncoder::new();
        }
        Ok(())
    }

    fn append_late(&mut self, t: i64, v: f64, files: &ChunkFiles) -> Result<(), Error> {
        let late = self.late.get_or_insert_default();
        late.samples.push((t, v));
        if late.samples.len() >= LATE_SAMPLES_MAX {
            late.encode(files)?;
        }
        Ok(())
    }

    /// What is there now.
    pub(crate) fn visible(&self) -> Visible {
        let late = self.late.as_deref();
        Visible {
            sealed: self.dropped + u32::try_from(self.sealed.len()).unwrap_or(u32::MAX),
            open_samples: self.open.sample_count(),
            late_chunks: late.map_or(0, |l| u32::try_from(l.chunks.len()).unwrap_or(u32::MAX)),
            late_samples: late.map_or(0, |l| u16::try_from(l.samples.len()).unwrap_or(u16::MAX)),
        }
    }

    /// Forgets chunks that end before `t`; returns whether anything is left.
    pub(crate) fn drop_before(&mut self, t: i64) -> bool {
        let old = self.sealed.partition_point(|c| c.maxt() < t);
        if old > 0 {
            self.sealed.drain(..old);
            self.sealed.shrink_to_fit();
            self.dropped = self.dropped.saturating_add(u32::try_from(old).unwrap_or(u32::MAX));
        }
        if let Some(late) = &mut self.late {
            late.chunks.retain(|c| c.maxt() >= t);
            late.samples.retain(|s| s.0 >= t);
            if late.chunks.is_empty() && late.samples.is_empty() {
                self.late = None;
            }
        }
        let open_ends_before = self.open.last().is_some_and(|(last, _)| last < t);
        if open_ends_before {
            self.open = XorEncoder::new();
            // Readers count chunks since birth; the open one went without being sealed.
            self.dropped = self.dropped.saturating_add(1);
        }
        !(self.sealed.is_empty() && self.open.sample_count() == 0 && self.late.is_none())
    }
}

impl Late {
    fn encode(&mut self, files: &ChunkFiles) -> Result<(), Error> {
        for (mint, maxt, mut encoder) in encode_sorted(&mut self.samples) {
            self.chunks.push(files.append(mint, maxt, ChunkEncoding::Xor, encoder.bytes())?);
        }
        self.samples.clear();
        Ok(())
    }
}

/// Sorts and joins samples and encodes them into chunks that keep the rules of cutting: (mint, maxt, chunk).
pub(crate) fn encode_sorted(samples: &mut Vec<(i64, f64)>) -> Vec<(i64, i64, XorEncoder)> {
    samples.sort_by_key(|s| s.0);
    samples.dedup_by(|b, a| {
        let same = a.0 == b.0;
        if same {
            a.1 = join_values(a.1, b.1);
        }
        same
    });
    let mut chunks = Vec::new();
    for slot in samples.chunk_by(|a, b| a.0.div_euclid(CHUNK_ALIGN_MS) == b.0.div_euclid(CHUNK_ALIGN_MS)) {
        for part in slot.chunks(usize::from(CHUNK_SAMPLES_MAX)) {
            let mut encoder = XorEncoder::new();
            part.iter().for_each(|(t, v)| encoder.append(*t, *v));
            let (first, last) =
                (part.first().expect("chunks are not empty"), part.last().expect("chunks are not empty"));
            chunks.push((first.0, last.0, encoder));
        }
    }
    chunks
}
