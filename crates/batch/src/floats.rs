//! The column of float samples.

use model::SeriesId;

use crate::parse::Cursor;
use crate::varint::{put_uvarint, put_varint, take_uvarint, take_varint};

/// The float samples of a section: runs of samples of one series each.
#[derive(Clone, Copy, Debug)]
pub struct FloatColumn<'a> {
    pub(crate) ids: &'a [u8],
    /// Empty where each run has one sample.
    pub(crate) run_counts: &'a [u8],
    pub(crate) timestamps: &'a [u8],
    pub(crate) values: &'a [u8],
    pub(crate) base: i64,
}

/// What a column that was checked has.
pub(crate) struct Checked {
    pub(crate) sample_count: usize,
    pub(crate) mint: i64,
    pub(crate) maxt: i64,
}

/// The timestamps of a column. It ends nowhere by itself: values are counted.
pub(crate) struct Timestamps<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) at: i64,
    /// Samples that have the same timestamp as the one before.
    repeats: u64,
}

impl<'a> Timestamps<'a> {
    pub(crate) fn new(bytes: &'a [u8], base: i64) -> Timestamps<'a> {
        Timestamps { bytes, at: base, repeats: 0 }
    }

    /// The next timestamp, and how many more samples have it; `None` where the bytes are none.
    #[inline]
    pub(crate) fn take_stretch(&mut self) -> Option<(i64, u64)> {
        let difference = take_varint(&mut self.bytes)?;
        self.at = self.at.wrapping_add(difference);
        let more = if difference == 0 { take_uvarint(&mut self.bytes)? } else { 0 };
        Some((self.at, more))
    }

    #[inline]
    fn take(&mut self) -> Option<i64> {
        match self.repeats.checked_sub(1) {
            Some(left) => self.repeats = left,
            None => self.repeats = self.take_stretch()?.1,
        }
        Some(self.at)
    }
}

/// So many samples with the timestamp of the one before.
pub(crate) fn put_timestamp_repeats(out: &mut Vec<u8>, count: u64) {
    if let Some(more) = count.checked_sub(1) {
        put_varint(out, 0);
        put_uvarint(out, more);
    }
}

impl<'a> FloatColumn<'a> {
    /// Finds the parts; `None` where they do not fit. What is in them is not looked at but for the counts.
    pub(crate) fn read(bytes: &'a [u8], base: i64) -> Option<FloatColumn<'a>> {
        let mut c = Cursor(bytes);
        let run_count = usize::try_from(take_uvarint(&mut c.0)?).ok()?;
        let beyond = usize::try_from(take_uvarint(&mut c.0)?).ok()?;
        let ids = c.take(run_count.checked_mul(16)?)?;
        let mut run_counts: &[u8] = &[];
        if beyond > 0 {
            let all = c.0;
            let mut total: usize = 0;
            for _ in 0..run_count {
                let more = take_uvarint(&mut c.0)?.checked_sub(1)?;
                total = total.checked_add(usize::try_from(more).ok()?)?;
            }
            if total != beyond {
                return None;
            }
            run_counts = &all[..all.len() - c.0.len()];
        }
        let values_len = run_count.checked_add(beyond)?.checked_mul(8)?;
        let (timestamps, values) = c.0.split_at(c.0.len().checked_sub(values_len)?);
        Some(FloatColumn { ids, run_counts, timestamps, values, base })
    }

    /// Checks the timestamps, too.
    pub(crate) fn check(bytes: &[u8], base: i64) -> Option<Checked> {
        let column = FloatColumn::read(bytes, base)?;
        let sample_count = column.sample_count();
        let (mut left, mut mint, mut maxt) = (sample_count as u64, i64::MAX, i64::MIN);
        let mut timestamps = Timestamps::new(column.timestamps, base);
        while left > 0 {
            let (at, more) = timestamps.take_stretch()?;
            left = left.checked_sub(more.checked_add(1)?)?;
            mint = mint.min(at);
            maxt = maxt.max(at);
        }
        timestamps.bytes.is_empty().then_some(Checked { sample_count, mint, maxt })
    }

    /// Number of runs: at most the number of series.
    pub fn run_count(&self) -> usize {
        self.ids.len() / 16
    }

    pub(crate) fn sample_count(&self) -> usize {
        self.values.len() / 8
    }

    /// Calls `f` for each run, in order, with its samples as (timestamp in ms, value).
    #[inline]
    pub fn for_each_run(&self, mut f: impl FnMut(SeriesId, &mut dyn Iterator<Item = (i64, f64)>)) {
        let mut counts = self.run_counts;
        let mut timestamps = Timestamps::new(self.timestamps, self.base);
        let mut values = self.values.chunks_exact(8);
        for id in self.ids() {
            let mut left = if counts.is_empty() { 1 } else { take_uvarint(&mut counts).expect("checked") };
            let mut samples = std::iter::from_fn(|| {
                left = left.checked_sub(1)?;
                let t = timestamps.take().expect("checked");
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
    pub fn ids(&self) -> impl Iterator<Item = SeriesId> + use<'a> {
        self.ids.chunks_exact(16).map(|b| SeriesId(u128::from_le_bytes(b.try_into().expect("chunks of 16 bytes"))))
    }
}
