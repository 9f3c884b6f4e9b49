//! Writing batches.

use model::{Labels, Metadata, MetricType, PartitionId, SampleValue, SeriesId, TenantId};

use crate::floats::put_timestamp_repeats;
use crate::varint::{put_uvarint, put_varint};
use crate::{BatchHeader, HEADER_BYTES_MAX, histogram, kind, put_header};

/// Collects one batch of one tenant. Reused from batch to batch, it allocates nothing in the steady state.
#[derive(Debug, Default)]
pub struct BatchBuilder {
    /// Only the first `used` sections belong to the batch being built.
    sections: Vec<SectionBuilder>,
    used: usize,
    /// By partition, modulo [`HINTS_MAX`]: the section that was begun last for it, plus one.
    by_partition: Vec<u32>,
    /// The order in which sections are written.
    order: Vec<usize>,
    /// The first timestamp of a float.
    base: Option<i64>,
    /// Upper bound on the bytes of the sections.
    bytes: usize,
}

/// As many as a cluster can have partitions; a number from elsewhere may be any.
const HINTS_MAX: usize = 4096;
/// Bytes of a section besides columns' contents: partition, columns, lengths of all columns, counts of runs and samples.
const SECTION_BYTES_MAX: usize = 5 + 1 + 6 * 3 + 2 * 3;
/// Most bytes that a sample can take: an id, its count, a timestamp, a value.
const SAMPLE_BYTES_MAX: usize = 16 + 5 + 10 + 8;

#[derive(Debug, Default)]
struct SectionBuilder {
    partition: u32,
    definitions: Vec<u8>,
    floats: Floats,
    exemplars: Vec<u8>,
    metadata: Vec<u8>,
    histograms: Vec<u8>,
    float_histograms: Vec<u8>,
}

#[derive(Debug, Default)]
struct Floats {
    ids: Vec<u8>,
    run_counts: Vec<u8>,
    run_count: usize,
    /// Samples in the run that is open.
    run_len: u64,
    last_id: Option<SeriesId>,
    last_timestamp: i64,
    /// Samples with the last timestamp that were not written yet.
    repeats: u64,
    timestamps: Vec<u8>,
    values: Vec<u8>,
}

impl Floats {
    fn clear(&mut self) {
        self.ids.clear();
        self.run_counts.clear();
        self.run_count = 0;
        self.run_len = 0;
        self.last_id = None;
        self.repeats = 0;
        self.timestamps.clear();
        self.values.clear();
    }

    fn close_run(&mut self) {
        if self.run_len > 0 {
            put_uvarint(&mut self.run_counts, self.run_len);
            self.run_len = 0;
        }
    }

    fn push(&mut self, base: i64, id: SeriesId, timestamp: i64, value: f64) {
        if self.last_id != Some(id) {
            self.close_run();
            self.ids.extend_from_slice(&id.0.to_le_bytes());
            self.run_count += 1;
            self.last_id = Some(id);
        }
        self.run_len += 1;
        let before = if self.values.is_empty() { base } else { self.last_timestamp };
        if timestamp == before {
            self.repeats += 1;
        } else {
            self.write_repeats();
            put_varint(&mut self.timestamps, timestamp.wrapping_sub(before));
        }
        self.last_timestamp = timestamp;
        self.values.extend_from_slice(&value.to_bits().to_le_bytes());
    }

    fn write_repeats(&mut self) {
        put_timestamp_repeats(&mut self.timestamps, self.repeats);
        self.repeats = 0;
    }

    fn write(&mut self, out: &mut Vec<u8>) {
        self.close_run();
        self.write_repeats();
        let beyond = self.values.len() / 8 - self.run_count;
        let run_counts: &[u8] = if beyond > 0 { &self.run_counts } else { &[] };
        put_floats(out, self.run_count, beyond, [&self.ids, run_counts, &self.timestamps, &self.values]);
    }
}

/// A column of floats with its length: ids, counts, timestamps and values.
pub(crate) fn put_floats(out: &mut Vec<u8>, run_count: usize, beyond: usize, parts: [&[u8]; 4]) {
    let counts_len = uvarint_len(run_count) + uvarint_len(beyond);
    put_uvarint(out, (counts_len + parts.iter().map(|part| part.len()).sum::<usize>()) as u64);
    put_uvarint(out, run_count as u64);
    put_uvarint(out, beyond as u64);
    parts.iter().for_each(|part| out.extend_from_slice(part));
}

fn uvarint_len(n: usize) -> usize {
    let bits = (usize::BITS - n.leading_zeros()).max(1);
    bits.div_ceil(7) as usize
}

impl SectionBuilder {
    fn reset(&mut self, partition: PartitionId) {
        self.partition = partition.0;
        self.floats.clear();
        let columns = [&mut self.definitions, &mut self.exemplars, &mut self.metadata, &mut self.histograms];
        columns.into_iter().for_each(Vec::clear);
        self.float_histograms.clear();
    }

    fn write(&mut self, out: &mut Vec<u8>) {
        put_uvarint(out, u64::from(self.partition));
        let columns_at = out.len();
        out.push(0);
        for k in 0..kind::COUNT {
            let column = match k {
                kind::DEFINITIONS => &self.definitions,
                kind::FLOATS if self.floats.run_count > 0 => {
                    self.floats.write(out);
                    out[columns_at] |= 1 << k;
                    continue;
                }
                kind::HISTOGRAMS => &self.histograms,
                kind::FLOAT_HISTOGRAMS => &self.float_histograms,
                kind::EXEMPLARS => &self.exemplars,
                kind::METADATA => &self.metadata,
                _ => continue,
            };
            if !column.is_empty() {
                put_uvarint(out, column.len() as u64);
                out.extend_from_slice(column);
                out[columns_at] |= 1 << k;
            }
        }
    }
}

impl BatchBuilder {
    /// An empty batch.
    pub fn new() -> BatchBuilder {
        BatchBuilder::default()
    }

    /// Whether nothing was put in.
    pub fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// An upper bound on the bytes that [`BatchBuilder::finish`] would write now.
    pub fn byte_len_max(&self) -> usize {
        HEADER_BYTES_MAX + self.bytes
    }

    fn section(&mut self, partition: PartitionId) -> &mut SectionBuilder {
        let known = |s: &SectionBuilder| s.partition == partition.0;
        let slot = partition.0 as usize % HINTS_MAX;
        let hint = self.by_partition.get(slot).map_or(usize::MAX, |n| (*n as usize).wrapping_sub(1));
        let used = &self.sections[..self.used];
        let at = match used.get(hint).filter(|s| known(s)).map(|_| hint).or_else(|| used.iter().position(known)) {
            Some(i) => i,
            None => {
                if self.used == self.sections.len() {
                    self.sections.push(SectionBuilder::default());
                }
                self.sections[self.used].reset(partition);
                self.bytes += SECTION_BYTES_MAX;
                if self.by_partition.len() <= slot {
                    self.by_partition.resize(slot + 1, 0);
                }
                self.used += 1;
                self.by_partition[slot] = u32::try_from(self.used).expect("sections are few");
                self.used - 1
            }
        };
        &mut self.sections[at]
    }

    /// Says what `id` means.
    pub fn define(&mut self, partition: PartitionId, id: SeriesId, packed_labels: &[u8]) {
        self.bytes += 16 + 4 + packed_labels.len();
        let out = &mut self.section(partition).definitions;
        out.extend_from_slice(&id.0.to_le_bytes());
        put_bytes(out, packed_labels);
    }

    /// One float sample.
    pub fn push(&mut self, partition: PartitionId, id: SeriesId, timestamp: i64, value: f64) {
        self.bytes += SAMPLE_BYTES_MAX;
        let base = *self.base.get_or_insert(timestamp);
        self.section(partition).floats.push(base, id, timestamp, value);
    }

    /// One sample of any kind. A histogram must be valid and at most [`crate::HISTOGRAM_BYTES_MAX`] long.
    pub fn value(&mut self, partition: PartitionId, id: SeriesId, timestamp: i64, value: &SampleValue) {
        let bytes = histogram::histogram_bytes_max(value);
        self.bytes += bytes;
        let out = match value {
            SampleValue::Float(v) => return self.push(partition, id, timestamp, *v),
            SampleValue::Histogram(_) => &mut self.section(partition).histograms,
            SampleValue::FloatHistogram(_) => &mut self.section(partition).float_histograms,
        };
        histogram::put(out, id, timestamp, value);
    }

    /// One exemplar.
    pub fn exemplar(&mut self, partition: PartitionId, id: SeriesId, timestamp: i64, value: f64, labels: &Labels) {
        self.bytes += 16 + 8 + 8 + 4 + labels.as_packed().len();
        let out = &mut self.section(partition).exemplars;
        out.extend_from_slice(&id.0.to_le_bytes());
        out.extend_from_slice(&timestamp.to_le_bytes());
        out.extend_from_slice(&value.to_bits().to_le_bytes());
        put_bytes(out, labels.as_packed());
    }

    /// Metadata of the metric family `name`.
    pub fn metadata(&mut self, partition: PartitionId, name: &str, metadata: &Metadata) {
        self.bytes += 1 + 12 + name.len() + metadata.help.len() + metadata.unit.len();
        let out = &mut self.section(partition).metadata;
        out.push(type_code(metadata.metric_type));
        for text in [name, &metadata.help, &metadata.unit] {
            put_bytes(out, text.as_bytes());
        }
    }

    /// Appends the batch, which is of this tenant, to `out` and starts an empty one.
    pub fn finish(&mut self, header: BatchHeader, tenant: &TenantId, out: &mut Vec<u8>) {
        put_header(header, tenant, self.base.unwrap_or(0), self.used, out);
        let used = &mut self.sections[..self.used];
        self.order.clear();
        self.order.extend(0..used.len());
        self.order.sort_unstable_by_key(|i| used[*i].partition);
        self.order.iter().for_each(|i| used[*i].write(out));
        self.clear();
    }

    /// Forgets what was put in.
    pub fn clear(&mut self) {
        self.used = 0;
        self.base = None;
        self.bytes = 0;
    }
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&u32::try_from(bytes.len()).expect("texts are shorter than a batch").to_le_bytes());
    out.extend_from_slice(bytes);
}

fn type_code(t: MetricType) -> u8 {
    match t {
        MetricType::Unknown => 0,
        MetricType::Counter => 1,
        MetricType::Gauge => 2,
        MetricType::Histogram => 3,
        MetricType::GaugeHistogram => 4,
        MetricType::Summary => 5,
        MetricType::Info => 6,
        MetricType::StateSet => 7,
    }
}
