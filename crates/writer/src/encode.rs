//! Admission, and batches from what is admitted.

use std::collections::BTreeMap;

use batch::{BATCH_BYTES_MAX, BatchBuilder, BatchHeader};
use model::{Labels, Metadata, SeriesId, TenantId, TimestampMs};
use storage::{RejectReason, Rejection};

use crate::known::{Met, Unknown};

/// Batches are closed at this length; what one series adds must fit behind it.
const BATCH_BYTES_AIM: usize = BATCH_BYTES_MAX - LABELS_BYTES_MAX - (4 << 10);

/// Longest labels of one series, packed.
pub(crate) const LABELS_BYTES_MAX: usize = 256 << 10;

/// What is let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admission {
    /// Older samples are refused.
    pub oldest: TimestampMs,
    /// Newer samples are refused.
    pub newest: TimestampMs,
}

/// Samples that can be walked more than once: again when a replica asks for definitions.
pub trait SampleSource {
    /// Gives everything to `sink`. On an error, which says what is wrong with the source, nothing is sent.
    fn walk(&self, sink: &mut SampleSink<'_>) -> Result<(), String>;

    /// The [`Writer::epoch`](crate::Writer::epoch) before a write that succeeded and held all series that are given by
    /// [`SampleSink::remembered_series`]. While it is the same, none of them is looked up.
    fn defined_at(&self) -> Option<u64> {
        None
    }
}

/// Buffers of a sink, used again from request to request: they would grow anew in many small steps each time.
pub(crate) struct Workbench {
    builder: BatchBuilder,
    /// Text that is hashed: the tenant, then packed labels.
    scratch: Vec<u8>,
    /// The series, where all were taken for known.
    pub(crate) met: Met,
}

impl Workbench {
    pub(crate) fn new(partition_count: u32) -> Workbench {
        Workbench { builder: BatchBuilder::new(), scratch: Vec::with_capacity(512), met: Met::new(partition_count) }
    }
}

/// Takes samples and makes batches of them.
///
/// A source is walked once as if all its series were known to the replica, and again with definitions where some are not: in the
/// steady state nothing is looked up per series.
pub struct SampleSink<'a> {
    pub(crate) tenant: &'a TenantId,
    pub(crate) partition_count: u32,
    pub(crate) admission: Admission,
    /// Series to be defined, after a check of their labels; `None`: all are taken for known, and it is noted which they were.
    unknown: Option<Unknown>,
    /// Whether remembered series are known without looking.
    remembered_are_known: bool,
    pub(crate) header: &'a mut dyn FnMut() -> BatchHeader,
    builder: BatchBuilder,
    met: Met,
    samples_in_batch: u64,
    defined: Vec<SeriesId>,
    pub(crate) finished: Vec<EncodedBatch>,
    rejections: BTreeMap<RejectReason, Rejection>,
    exemplar_count: u64,
    /// Text that is hashed: the tenant, then packed labels.
    scratch: Vec<u8>,
    tenant_bytes: usize,
}

/// A batch ready to be sent.
pub(crate) struct EncodedBatch {
    pub(crate) bytes: Vec<u8>,
    pub(crate) sample_count: u64,
    pub(crate) defined: Vec<SeriesId>,
}

/// What admission and encoding came to.
pub(crate) struct Encoded {
    pub(crate) batches: Vec<EncodedBatch>,
    pub(crate) rejections: Vec<Rejection>,
    pub(crate) exemplar_count: u64,
}

impl<'a> SampleSink<'a> {
    pub(crate) fn new(
        tenant: &'a TenantId,
        partition_count: u32,
        admission: Admission,
        unknown: Option<Unknown>,
        remembered_are_known: bool,
        header: &'a mut dyn FnMut() -> BatchHeader,
        workbench: Workbench,
    ) -> SampleSink<'a> {
        let Workbench { mut builder, mut scratch, mut met } = workbench;
        // A source that was found malformed leaves something behind.
        builder.clear();
        met.clear();
        scratch.clear();
        SeriesId::put_tenant(tenant, &mut scratch);
        SampleSink {
            tenant,
            partition_count,
            admission,
            unknown,
            remembered_are_known,
            header,
            builder,
            met,
            samples_in_batch: 0,
            defined: Vec::new(),
            finished: Vec::new(),
            rejections: BTreeMap::new(),
            exemplar_count: 0,
            tenant_bytes: scratch.len(),
            scratch,
        }
    }

    /// A series by its labels. `None` (and counted as refused, with `sample_count` samples) if they are too long.
    pub fn series(&mut self, labels: &Labels, sample_count: u64) -> Option<SeriesId> {
        self.scratch.truncate(self.tenant_bytes);
        self.scratch.extend_from_slice(labels.as_packed());
        let id = SeriesId::of_packed(&self.scratch);
        self.admit(id, sample_count)
    }

    /// A series by packed labels that `check` vouches for; it is called only when the series is new to us, because checking UTF-8
    /// costs more than all the rest. Labels must be sorted, unique and without empty values.
    pub fn packed_series(
        &mut self,
        write_packed: impl FnOnce(&mut Vec<u8>),
        check: impl FnOnce(&[u8]) -> Result<(), String>,
        sample_count: u64,
    ) -> Option<SeriesId> {
        self.scratch.truncate(self.tenant_bytes);
        write_packed(&mut self.scratch);
        let id = SeriesId::of_packed(&self.scratch);
        if self.is_taken_for_known(id) {
            return Some(id);
        }
        if let Err(why) = check(&self.scratch[self.tenant_bytes..]) {
            self.reject(RejectReason::InvalidLabels, sample_count, || why);
            return None;
        }
        self.admit_unknown(id, sample_count)
    }

    /// A series whose id the caller remembers: nothing is hashed. `labels` is called only when the series is new to us; `None`
    /// from it (and from here) where the caller cannot tell them any more, or they are those of another series.
    #[inline]
    pub fn known_series(
        &mut self,
        id: SeriesId,
        labels: impl FnOnce() -> Option<Labels>,
        sample_count: u64,
    ) -> Option<SeriesId> {
        if self.is_taken_for_known(id) {
            return Some(id);
        }
        self.scratch.truncate(self.tenant_bytes);
        self.scratch.extend_from_slice(labels()?.as_packed());
        if SeriesId::of_packed(&self.scratch) != id {
            return None;
        }
        self.admit_unknown(id, sample_count)
    }

    /// As [`SampleSink::known_series`], of a series that the source wrote before.
    #[inline]
    pub fn remembered_series(
        &mut self,
        id: SeriesId,
        labels: impl FnOnce() -> Option<Labels>,
        sample_count: u64,
    ) -> Option<SeriesId> {
        if self.remembered_are_known && self.unknown.is_none() {
            return Some(id);
        }
        self.known_series(id, labels, sample_count)
    }

    fn admit(&mut self, id: SeriesId, sample_count: u64) -> Option<SeriesId> {
        if self.is_taken_for_known(id) {
            return Some(id);
        }
        self.admit_unknown(id, sample_count)
    }

    #[inline]
    fn is_taken_for_known(&mut self, id: SeriesId) -> bool {
        match &self.unknown {
            None => {
                self.met.push(id);
                true
            }
            Some(unknown) => !unknown.contains(id),
        }
    }

    /// Defines the series whose packed labels are in `scratch`.
    fn admit_unknown(&mut self, id: SeriesId, sample_count: u64) -> Option<SeriesId> {
        let packed_bytes = self.scratch.len() - self.tenant_bytes;
        if packed_bytes > LABELS_BYTES_MAX {
            let why = || format!("labels of {packed_bytes} bytes are longer than {LABELS_BYTES_MAX}");
            self.reject(RejectReason::InvalidLabels, sample_count, why);
            return None;
        }
        self.make_room();
        let partition = id.partition(self.partition_count);
        self.builder.define(self.tenant, partition, id, &self.scratch[self.tenant_bytes..]);
        self.defined.push(id);
        Some(id)
    }

    /// One sample of a series admitted just before.
    #[inline]
    pub fn sample(&mut self, id: SeriesId, timestamp: i64, value: f64) {
        if timestamp < self.admission.oldest.0 || timestamp > self.admission.newest.0 {
            self.reject_time(timestamp);
            return;
        }
        self.make_room();
        self.builder.push(self.tenant, id.partition(self.partition_count), id, timestamp, value);
        self.samples_in_batch += 1;
    }

    /// One exemplar of a series admitted just before.
    pub fn exemplar(&mut self, id: SeriesId, timestamp: i64, value: f64, labels: &Labels) {
        if timestamp > self.admission.newest.0 || labels.as_packed().len() > LABELS_BYTES_MAX {
            return;
        }
        self.make_room();
        self.builder.exemplar(self.tenant, id.partition(self.partition_count), id, timestamp, value, labels);
        self.exemplar_count += 1;
    }

    /// Metadata of a metric family.
    pub fn metadata(&mut self, name: &str, metadata: &Metadata) {
        let bytes = name.len() + metadata.help.len() + metadata.unit.len();
        if bytes > LABELS_BYTES_MAX {
            return;
        }
        self.make_room();
        // Anywhere, as long as all writers agree: with the series that has the name and no other label.
        let labels = Labels::from_pairs([(model::METRIC_NAME, name)]).unwrap_or_default();
        let partition = SeriesId::compute(self.tenant, &labels, &mut Vec::new()).partition(self.partition_count);
        self.builder.metadata(self.tenant, partition, name, metadata);
    }

    /// Counts what is refused for good.
    pub fn reject(&mut self, reason: RejectReason, sample_count: u64, example: impl FnOnce() -> String) {
        let entry = self.rejections.entry(reason);
        entry.or_insert_with(|| Rejection { reason, sample_count: 0, example: example() }).sample_count += sample_count;
    }

    #[cold]
    fn reject_time(&mut self, timestamp: i64) {
        let Admission { oldest, newest } = self.admission;
        if timestamp < oldest.0 {
            self.reject(RejectReason::TooOld, 1, || format!("sample at {timestamp} is older than {oldest}"));
        } else {
            let why = || format!("sample at {timestamp} is more than 10 minutes ahead of the clock ({newest})");
            self.reject(RejectReason::TooFarInFuture, 1, why);
        }
    }

    /// Closes the batch if what comes next might not fit.
    fn make_room(&mut self) {
        if self.builder.byte_len_max() >= BATCH_BYTES_AIM {
            self.close();
        }
    }

    fn close(&mut self) {
        if self.builder.is_empty() {
            return;
        }
        let header = (self.header)();
        let mut bytes = Vec::with_capacity(self.builder.byte_len_max());
        self.builder.finish(header, &mut bytes);
        let defined = std::mem::take(&mut self.defined);
        self.finished.push(EncodedBatch { bytes, sample_count: self.samples_in_batch, defined });
        self.samples_in_batch = 0;
    }

    pub(crate) fn finish(mut self) -> (Encoded, Workbench) {
        self.close();
        let encoded = Encoded {
            batches: self.finished,
            rejections: self.rejections.into_values().collect(),
            exemplar_count: self.exemplar_count,
        };
        (encoded, Workbench { builder: self.builder, scratch: self.scratch, met: self.met })
    }
}
