//! One batch of several.

use model::PartitionId;

use crate::build::put_floats;
use crate::floats::{FloatColumn, Timestamps, put_timestamp_repeats};
use crate::varint::{put_uvarint, put_varint, take_uvarint, take_varint};
use crate::{Batch, BatchHeader, Section, kind, put_header};

impl Batch {
    /// Most bytes that this batch adds to one that it is joined into.
    pub fn joined_bytes_max(&self) -> usize {
        // A section's lengths and its first timestamp may take more, and each run a count.
        self.bytes().len() + self.sections().len() * 32 + self.sample_count()
    }

    /// Writes a batch with all that is in these, which must be of one tenant. Columns are copied; of those of floats only the
    /// first timestamp and what is left out are written anew.
    pub fn join(header: BatchHeader, batches: &[Batch], out: &mut Vec<u8>) {
        let Some(first) = batches.first() else { return };
        assert!(batches.iter().all(|batch| batch.tenant() == first.tenant()), "a batch has one tenant");
        let mut all: Vec<(PartitionId, Section<'_>)> = Vec::new();
        for batch in batches {
            all.extend(batch.sections().map(|section| (section.partition, section)));
        }
        // Stable: what came first stays before what came after it.
        all.sort_by_key(|(partition, _)| *partition);
        let count = all.chunk_by(|a, b| a.0 == b.0).count();
        let base = first.base();
        put_header(header, first.tenant(), base, count, out);
        let mut floats = Floats::default();
        for sections in all.chunk_by(|a, b| a.0 == b.0) {
            put_section(base, sections, &mut floats, out);
        }
    }
}

fn put_section(base: i64, sections: &[(PartitionId, Section<'_>)], floats: &mut Floats, out: &mut Vec<u8>) {
    let columns = sections.iter().fold(0, |columns, (_, section)| columns | section.columns);
    put_uvarint(out, u64::from(sections[0].0.0));
    out.push(columns);
    if let [(_, alone)] = sections
        && alone.base == base
    {
        out.extend_from_slice(alone.bytes);
        return;
    }
    for wanted in kind::of(columns) {
        let parts = || sections.iter().filter_map(|(_, section)| column_of(section, wanted));
        if wanted == kind::FLOATS {
            floats.begin(base);
            parts().for_each(|(bytes, base)| floats.add(&FloatColumn::read(bytes, base).expect("checked when parsed")));
            floats.write(out);
        } else {
            put_uvarint(out, parts().map(|(bytes, _)| bytes.len() as u64).sum());
            parts().for_each(|(bytes, _)| out.extend_from_slice(bytes));
        }
    }
}

/// The bytes of a section's column, and what its timestamps begin at.
fn column_of<'a>(section: &Section<'a>, wanted: u8) -> Option<(&'a [u8], i64)> {
    let base = section.base;
    section.raw_columns().find(|(kind, _)| *kind == wanted).map(|(_, bytes)| (bytes, base))
}

/// A column of several. Reused from section to section.
#[derive(Default)]
struct Floats {
    ids: Vec<u8>,
    run_counts: Vec<u8>,
    timestamps: Vec<u8>,
    values: Vec<u8>,
    /// The last timestamp, or the base.
    last: i64,
}

impl Floats {
    fn begin(&mut self, base: i64) {
        [&mut self.ids, &mut self.run_counts, &mut self.timestamps, &mut self.values].into_iter().for_each(Vec::clear);
        self.last = base;
    }

    fn add(&mut self, part: &FloatColumn<'_>) {
        if part.values.is_empty() {
            return;
        }
        self.ids.extend_from_slice(part.ids);
        if part.run_counts.is_empty() {
            self.run_counts.resize(self.run_counts.len() + part.run_count(), 1);
        } else {
            self.run_counts.extend_from_slice(part.run_counts);
        }
        self.values.extend_from_slice(part.values);
        self.add_timestamps(part);
    }

    fn add_timestamps(&mut self, part: &FloatColumn<'_>) {
        let mut rest = part.timestamps;
        let difference = take_varint(&mut rest).expect("checked when parsed");
        let more = if difference == 0 { take_uvarint(&mut rest).expect("checked when parsed") } else { 0 };
        let difference = part.base.wrapping_add(difference).wrapping_sub(self.last);
        put_varint(&mut self.timestamps, difference);
        if difference == 0 {
            put_uvarint(&mut self.timestamps, more);
        } else {
            put_timestamp_repeats(&mut self.timestamps, more);
        }
        self.timestamps.extend_from_slice(rest);
        let mut all = Timestamps::new(part.timestamps, part.base);
        while !all.bytes.is_empty() {
            all.take_stretch().expect("checked when parsed");
        }
        self.last = all.at;
    }

    fn write(&self, out: &mut Vec<u8>) {
        let run_count = self.ids.len() / 16;
        let beyond = self.values.len() / 8 - run_count;
        let run_counts: &[u8] = if beyond > 0 { &self.run_counts } else { &[] };
        put_floats(out, run_count, beyond, [&self.ids, run_counts, &self.timestamps, &self.values]);
    }
}
