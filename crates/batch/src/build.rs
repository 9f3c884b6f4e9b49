//! Writing batches.

use model::{Labels, Metadata, MetricType, PartitionId, SeriesId, TenantId};

use crate::varint::{put_uvarint, put_varint};
use crate::{BatchHeader, HEADER_BYTES, VERSION, kind};

/// Collects one batch. Reused from batch to batch, it allocates nothing in the steady state.
#[derive(Debug, Default)]
pub struct BatchBuilder {
    /// Only the first `used` sections belong to the batch being built.
    sections: Vec<SectionBuilder>,
    used: usize,
    /// By partition, modulo [`HINTS_MAX`]: the section that was begun last for it, plus one.
    by_partition: Vec<u32>,
    /// Upper bound on the bytes of the sections.
    bytes: usize,
}

/// As many as a cluster can have partitions; a number from elsewhere may be any.
const HINTS_MAX: usize = 4096;
/// Bytes of a section besides tenant and columns' contents: counts, and kind and length of four columns.
const SECTION_BYTES: usize = 1 + 4 + 1 + 4 * 5 + 8;
/// Most bytes that a sample can take: an id, its count, a timestamp, a value.
const SAMPLE_BYTES_MAX: usize = 16 + 5 + 10 + 8;

#[derive(Debug, Default)]
struct SectionBuilder {
    tenant: Option<TenantId>,
    partition: u32,
    definitions: Vec<u8>,
    ids: Vec<u8>,
    run_counts: Vec<u8>,
    run_count: u32,
    /// Samples in the run that is open.
    run_len: u64,
    last_id: Option<SeriesId>,
    last_timestamp: i64,
    timestamps: Vec<u8>,
    values: Vec<u8>,
    exemplars: Vec<u8>,
    metadata: Vec<u8>,
}

impl SectionBuilder {
    fn reset(&mut self, tenant: &TenantId, partition: PartitionId) {
        self.tenant = Some(tenant.clone());
        self.partition = partition.0;
        for column in [
            &mut self.definitions,
            &mut self.ids,
            &mut self.run_counts,
            &mut self.timestamps,
            &mut self.values,
            &mut self.exemplars,
            &mut self.metadata,
        ] {
            column.clear();
        }
        self.run_count = 0;
        self.run_len = 0;
        self.last_id = None;
        self.last_timestamp = 0;
    }

    fn close_run(&mut self) {
        if self.run_len > 0 {
            put_uvarint(&mut self.run_counts, self.run_len);
            self.run_len = 0;
        }
    }

    fn push(&mut self, id: SeriesId, timestamp: i64, value: f64) {
        if self.last_id != Some(id) {
            self.close_run();
            self.ids.extend_from_slice(&id.0.to_le_bytes());
            self.run_count += 1;
            self.last_id = Some(id);
        }
        self.run_len += 1;
        put_varint(&mut self.timestamps, timestamp.wrapping_sub(self.last_timestamp));
        self.last_timestamp = timestamp;
        self.values.extend_from_slice(&value.to_bits().to_le_bytes());
    }

    fn write(&mut self, out: &mut Vec<u8>) {
        self.close_run();
        let tenant = self.tenant.as_ref().expect("a used section has a tenant").as_str();
        out.push(u8::try_from(tenant.len()).expect("TenantId::BYTES_MAX is less than 256"));
        out.extend_from_slice(tenant.as_bytes());
        out.extend_from_slice(&self.partition.to_le_bytes());
        let count_at = out.len();
        out.push(0);
        let mut column = |kind: u8, parts: &[&[u8]]| {
            let len: usize = parts.iter().map(|p| p.len()).sum();
            out[count_at] += 1;
            out.push(kind);
            out.extend_from_slice(&u32::try_from(len).expect("a batch is at most 1 MiB").to_le_bytes());
            for p in parts {
                out.extend_from_slice(p);
            }
        };
        if !self.definitions.is_empty() {
            column(kind::DEFINITIONS, &[&self.definitions]);
        }
        if self.run_count > 0 {
            let sample_count = u32::try_from(self.values.len() / 8).expect("a batch is at most 1 MiB");
            column(
                kind::FLOATS,
                &[
                    &self.run_count.to_le_bytes(),
                    &sample_count.to_le_bytes(),
                    &self.ids,
                    &self.run_counts,
                    &self.timestamps,
                    &self.values,
                ],
            );
        }
        if !self.exemplars.is_empty() {
            column(kind::EXEMPLARS, &[&self.exemplars]);
        }
        if !self.metadata.is_empty() {
            column(kind::METADATA, &[&self.metadata]);
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
        HEADER_BYTES + self.bytes
    }

    fn section(&mut self, tenant: &TenantId, partition: PartitionId) -> &mut SectionBuilder {
        let known = |s: &SectionBuilder| s.partition == partition.0 && s.tenant.as_ref() == Some(tenant);
        let slot = partition.0 as usize % HINTS_MAX;
        let hint = self.by_partition.get(slot).map_or(usize::MAX, |n| (*n as usize).wrapping_sub(1));
        let used = &self.sections[..self.used];
        let at = match used.get(hint).filter(|s| known(s)).map(|_| hint).or_else(|| used.iter().position(known)) {
            Some(i) => i,
            None => {
                if self.used == self.sections.len() {
                    self.sections.push(SectionBuilder::default());
                }
                self.sections[self.used].reset(tenant, partition);
                self.bytes += SECTION_BYTES + tenant.as_str().len();
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
    pub fn define(&mut self, tenant: &TenantId, partition: PartitionId, id: SeriesId, packed_labels: &[u8]) {
        self.bytes += 16 + 4 + packed_labels.len();
        let out = &mut self.section(tenant, partition).definitions;
        out.extend_from_slice(&id.0.to_le_bytes());
        put_bytes(out, packed_labels);
    }

    /// One float sample.
    pub fn push(&mut self, tenant: &TenantId, partition: PartitionId, id: SeriesId, timestamp: i64, value: f64) {
        self.bytes += SAMPLE_BYTES_MAX;
        self.section(tenant, partition).push(id, timestamp, value);
    }

    /// One exemplar.
    pub fn exemplar(
        &mut self,
        tenant: &TenantId,
        partition: PartitionId,
        id: SeriesId,
        timestamp: i64,
        value: f64,
        labels: &Labels,
    ) {
        self.bytes += 16 + 8 + 8 + 4 + labels.as_packed().len();
        let out = &mut self.section(tenant, partition).exemplars;
        out.extend_from_slice(&id.0.to_le_bytes());
        out.extend_from_slice(&timestamp.to_le_bytes());
        out.extend_from_slice(&value.to_bits().to_le_bytes());
        put_bytes(out, labels.as_packed());
    }

    /// Metadata of the metric family `name`.
    pub fn metadata(&mut self, tenant: &TenantId, partition: PartitionId, name: &str, metadata: &Metadata) {
        self.bytes += 1 + 12 + name.len() + metadata.help.len() + metadata.unit.len();
        let out = &mut self.section(tenant, partition).metadata;
        out.push(type_code(metadata.metric_type));
        for text in [name, &metadata.help, &metadata.unit] {
            put_bytes(out, text.as_bytes());
        }
    }

    /// Appends the batch to `out` and starts an empty one.
    pub fn finish(&mut self, header: BatchHeader, out: &mut Vec<u8>) {
        out.push(VERSION);
        out.extend_from_slice(&header.group.to_le_bytes());
        out.extend_from_slice(&header.generation.to_le_bytes());
        out.extend_from_slice(&header.writer.to_le_bytes());
        out.extend_from_slice(&header.seq.to_le_bytes());
        out.extend_from_slice(&u32::try_from(self.used).expect("sections are few").to_le_bytes());
        for section in &mut self.sections[..self.used] {
            section.write(out);
        }
        self.clear();
    }

    /// Forgets what was put in.
    pub fn clear(&mut self) {
        self.used = 0;
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
