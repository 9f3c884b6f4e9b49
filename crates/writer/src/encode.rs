//! Admission, and batches from what is admitted: one per group that owns any of it, or more where it does not fit.

use std::collections::{BTreeMap, HashSet};

use batch::{BATCH_BYTES_MAX, BatchBuilder, BatchHeader, HISTOGRAM_BYTES_MAX, histogram_bytes_max};
use cluster::GroupId;
use model::{FloatHistogram, Histogram, Labels, Metadata, PartitionId, SampleValue, SeriesId, TenantId, TimestampMs};
use storage::{RejectReason, Rejection};

use crate::known::{Met, Unknown};
use crate::routing::Routing;

/// Batches are closed at this length; what one series adds must fit behind it.
const BATCH_BYTES_AIM: usize = BATCH_BYTES_MAX - LABELS_BYTES_MAX - (4 << 10);

/// Longest labels of one series, packed.
pub(crate) const LABELS_BYTES_MAX: usize = 256 << 10;

const _: () = assert!(HISTOGRAM_BYTES_MAX <= LABELS_BYTES_MAX);

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
}

/// The batch of a group that is being built.
#[derive(Default)]
struct Open {
    builder: BatchBuilder,
    sample_count: u64,
    histogram_count: u64,
    defined: Vec<SeriesId>,
}

/// Buffers of a sink, used again from request to request: they would grow anew in many small steps each time.
#[derive(Default)]
pub(crate) struct Workbench {
    /// By slot of the routing.
    open: Vec<Open>,
    /// Text that is hashed: the tenant, then packed labels.
    scratch: Vec<u8>,
    /// The series, where all were taken for known.
    pub(crate) met: Met,
}

impl Workbench {
    /// Empty, for these groups and partitions. A source that was found malformed leaves something behind.
    fn clear(&mut self, routing: &Routing) {
        self.open.resize_with(routing.groups().len(), Open::default);
        for open in &mut self.open {
            open.builder.clear();
            open.sample_count = 0;
            open.histogram_count = 0;
            open.defined.clear();
        }
        self.scratch.clear();
        self.met.clear(routing.partition_count);
    }
}

/// What a source is walked for.
pub(crate) enum Pass {
    /// Samples; all series are taken for known, and it is noted which they were.
    AllKnown,
    /// Samples; these series are to be defined, after a check of their labels.
    Defining(Unknown),
    /// Only the definitions of these.
    Definitions(HashSet<SeriesId>),
}

/// Takes samples and makes batches of them.
///
/// A source is walked once as if all its series were known to the replicas, and again with definitions where some are not: in the
/// steady state nothing is looked up per series.
pub struct SampleSink<'a> {
    tenant: &'a TenantId,
    routing: &'a Routing,
    admission: Admission,
    pass: Pass,
    /// The writer's, when the walk began.
    epoch: u64,
    /// Whether remembered series are known without looking.
    remembered_are_known: bool,
    name: &'a mut dyn FnMut(GroupId) -> BatchHeader,
    open: Vec<Open>,
    met: Met,
    finished: Vec<EncodedBatch>,
    rejections: BTreeMap<RejectReason, Rejection>,
    exemplar_count: u64,
    /// Text that is hashed: the tenant, then packed labels.
    scratch: Vec<u8>,
    tenant_bytes: usize,
    /// The series that was defined last, while its labels are in `scratch`.
    defined_now: Option<SeriesId>,
}

/// A batch ready to be sent.
pub(crate) struct EncodedBatch {
    pub(crate) header: BatchHeader,
    pub(crate) bytes: Vec<u8>,
    pub(crate) sample_count: u64,
    /// Those of them that are histograms.
    pub(crate) histogram_count: u64,
    pub(crate) defined: Vec<SeriesId>,
}

/// What admission and encoding came to.
pub(crate) struct Encoded {
    pub(crate) batches: Vec<EncodedBatch>,
    pub(crate) rejections: Vec<Rejection>,
    pub(crate) exemplar_count: u64,
    /// Series that were to be defined and did not come.
    pub(crate) undefined: usize,
}

impl<'a> SampleSink<'a> {
    pub(crate) fn new(
        tenant: &'a TenantId,
        routing: &'a Routing,
        admission: Admission,
        (pass, epoch): (Pass, u64),
        name: &'a mut dyn FnMut(GroupId) -> BatchHeader,
        mut workbench: Workbench,
    ) -> SampleSink<'a> {
        workbench.clear(routing);
        let Workbench { open, mut scratch, met } = workbench;
        SeriesId::put_tenant(tenant, &mut scratch);
        SampleSink {
            tenant,
            routing,
            admission,
            pass,
            epoch,
            remembered_are_known: false,
            name,
            open,
            met,
            finished: Vec::new(),
            rejections: BTreeMap::new(),
            exemplar_count: 0,
            tenant_bytes: scratch.len(),
            scratch,
            defined_now: None,
        }
    }

    /// Says of what follows that it lies in one batch of its group where one can hold it: its samples become visible at
    /// once. `bytes_max` is about what it adds to a batch at most.
    pub fn begin_unit(&mut self, bytes_max: usize) {
        self.defined_now = None;
        for slot in 0..self.open.len() {
            if self.open[slot].builder.byte_len_max() + bytes_max > BATCH_BYTES_AIM {
                self.close(slot);
            }
        }
    }

    /// Says of the remembered series that follow at which [`Writer::epoch`](crate::Writer::epoch), taken before it, a write succeeded
    /// that held all of them. While the epoch is the same none of them is looked up.
    pub fn last_written_at(&mut self, epoch: Option<u64>) {
        self.remembered_are_known = epoch == Some(self.epoch);
    }

    /// A series by its labels. `None` (and counted as refused, with `sample_count` samples) if they are too long. In any case
    /// `None` means that nothing of the series is wanted.
    pub fn series(&mut self, labels: &Labels, sample_count: u64) -> Option<SeriesId> {
        let id = self.hash(|scratch| scratch.extend_from_slice(labels.as_packed()));
        if self.is_taken_for_known(id) {
            return Some(id);
        }
        self.admit_unknown(id, sample_count)
    }

    /// A series by packed labels that `check` vouches for; it is called only when the series is new to us, because checking UTF-8
    /// costs more than all the rest. Labels must be sorted, unique and without empty values.
    pub fn packed_series(
        &mut self,
        write_packed: impl FnOnce(&mut Vec<u8>),
        check: impl FnOnce(&[u8]) -> Result<(), String>,
        sample_count: u64,
    ) -> Option<SeriesId> {
        let id = self.hash(write_packed);
        if self.is_taken_for_known(id) {
            return Some(id);
        }
        if !self.is_wanted(id) {
            return None;
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
        if !self.is_wanted(id) {
            return None;
        }
        let labels = labels()?;
        if self.hash(|scratch| scratch.extend_from_slice(labels.as_packed())) != id {
            return None;
        }
        self.admit_unknown(id, sample_count)
    }

    /// As [`SampleSink::known_series`], of a series that the source wrote before; see [`SampleSink::last_written_at`].
    #[inline]
    pub fn remembered_series(
        &mut self,
        id: SeriesId,
        labels: impl FnOnce() -> Option<Labels>,
        sample_count: u64,
    ) -> Option<SeriesId> {
        if self.remembered_are_known && matches!(self.pass, Pass::AllKnown) {
            return Some(id);
        }
        self.known_series(id, labels, sample_count)
    }

    #[inline]
    fn hash(&mut self, write_packed: impl FnOnce(&mut Vec<u8>)) -> SeriesId {
        self.defined_now = None;
        self.scratch.truncate(self.tenant_bytes);
        write_packed(&mut self.scratch);
        SeriesId::of_packed(&self.scratch)
    }

    #[inline]
    fn is_taken_for_known(&mut self, id: SeriesId) -> bool {
        match &self.pass {
            Pass::AllKnown => {
                self.met.push(id);
                true
            }
            Pass::Defining(unknown) => !unknown.contains(id),
            Pass::Definitions(_) => false,
        }
    }

    /// Whether an unknown series is to be defined.
    fn is_wanted(&self, id: SeriesId) -> bool {
        match &self.pass {
            Pass::AllKnown | Pass::Defining(_) => true,
            Pass::Definitions(wanted) => wanted.contains(&id),
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
        if let Pass::Definitions(wanted) = &mut self.pass
            && !wanted.remove(&id)
        {
            return None;
        }
        let (slot, _) = self.make_room(id);
        self.define(slot, id);
        self.defined_now = Some(id);
        self.wants_samples().then_some(id)
    }

    fn define(&mut self, slot: usize, id: SeriesId) {
        let partition = id.partition(self.routing.partition_count);
        let open = &mut self.open[slot];
        open.builder.define(partition, id, &self.scratch[self.tenant_bytes..]);
        open.defined.push(id);
    }

    fn wants_samples(&self) -> bool {
        !matches!(self.pass, Pass::Definitions(_))
    }

    /// One sample of a series admitted just before.
    #[inline]
    pub fn sample(&mut self, id: SeriesId, timestamp: i64, value: f64) {
        if timestamp < self.admission.oldest.0 || timestamp > self.admission.newest.0 {
            self.reject_time(timestamp);
            return;
        }
        let (slot, partition) = self.make_room(id);
        let open = &mut self.open[slot];
        open.builder.push(partition, id, timestamp, value);
        open.sample_count += 1;
    }

    /// One native histogram of a series admitted just before. It is validated as Prometheus does; a resolution that is too fine is
    /// reduced, and of a marker nothing but its sum is kept.
    pub fn histogram(&mut self, id: SeriesId, timestamp: i64, mut value: SampleValue) {
        if timestamp < self.admission.oldest.0 || timestamp > self.admission.newest.0 {
            self.reject_time(timestamp);
            return;
        }
        let stale = value.is_stale();
        let valid = match &mut value {
            SampleValue::Float(v) => return self.sample(id, timestamp, *v),
            SampleValue::Histogram(h) if stale => {
                **h = Histogram::stale();
                Ok(())
            }
            SampleValue::FloatHistogram(h) if stale => {
                **h = FloatHistogram { sum: model::stale_nan(), ..FloatHistogram::default() };
                Ok(())
            }
            SampleValue::Histogram(h) => h.normalize(),
            SampleValue::FloatHistogram(h) => h.normalize(),
        };
        if let Err(why) = valid {
            self.reject(RejectReason::InvalidHistogram, 1, || why.to_string());
            return;
        }
        let bytes = histogram_bytes_max(&value);
        if bytes > HISTOGRAM_BYTES_MAX {
            let why = || format!("a histogram of {bytes} bytes is longer than {HISTOGRAM_BYTES_MAX}");
            self.reject(RejectReason::InvalidHistogram, 1, why);
            return;
        }
        let (slot, partition) = self.make_room(id);
        let open = &mut self.open[slot];
        open.builder.value(partition, id, timestamp, &value);
        open.sample_count += 1;
        open.histogram_count += 1;
    }

    /// One exemplar of a series admitted just before.
    pub fn exemplar(&mut self, id: SeriesId, timestamp: i64, value: f64, labels: &Labels) {
        let is_let_in = timestamp <= self.admission.newest.0 && labels.as_packed().len() <= LABELS_BYTES_MAX;
        if !is_let_in || !self.wants_samples() {
            return;
        }
        let (slot, partition) = self.make_room(id);
        self.open[slot].builder.exemplar(partition, id, timestamp, value, labels);
        self.exemplar_count += 1;
    }

    /// Metadata of a metric family.
    pub fn metadata(&mut self, name: &str, metadata: &Metadata) {
        let bytes = name.len() + metadata.help.len() + metadata.unit.len();
        if bytes > LABELS_BYTES_MAX || !self.wants_samples() {
            return;
        }
        // Anywhere, as long as all writers agree: with the series that has the name and no other label.
        let labels = Labels::from_pairs([(model::METRIC_NAME, name)]).unwrap_or_default();
        let id = SeriesId::compute(self.tenant, &labels, &mut Vec::new());
        let (slot, partition) = self.make_room(id);
        self.open[slot].builder.metadata(partition, name, metadata);
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

    /// The batch for what comes next of a series, closed before if it might not fit. A series that is being defined is defined in
    /// the new one, too: each batch can be taken without the others.
    #[inline]
    fn make_room(&mut self, id: SeriesId) -> (usize, PartitionId) {
        let partition = id.partition(self.routing.partition_count);
        let slot = self.routing.slot(partition);
        if self.open[slot].builder.byte_len_max() >= BATCH_BYTES_AIM {
            self.close(slot);
            if self.defined_now == Some(id) {
                self.define(slot, id);
            }
        }
        (slot, partition)
    }

    fn close(&mut self, slot: usize) {
        let open = &mut self.open[slot];
        if open.builder.is_empty() {
            return;
        }
        let header = (self.name)(self.routing.groups()[slot]);
        let mut bytes = Vec::with_capacity(open.builder.byte_len_max());
        open.builder.finish(header, self.tenant, &mut bytes);
        let (sample_count, defined) = (std::mem::take(&mut open.sample_count), std::mem::take(&mut open.defined));
        let histogram_count = std::mem::take(&mut open.histogram_count);
        self.finished.push(EncodedBatch { header, bytes, sample_count, histogram_count, defined });
    }

    pub(crate) fn finish(mut self) -> (Encoded, Workbench) {
        (0..self.open.len()).for_each(|slot| self.close(slot));
        let encoded = Encoded {
            batches: self.finished,
            rejections: self.rejections.into_values().collect(),
            exemplar_count: self.exemplar_count,
            undefined: if let Pass::Definitions(wanted) = &self.pass { wanted.len() } else { 0 },
        };
        (encoded, Workbench { open: self.open, scratch: self.scratch, met: self.met })
    }
}
