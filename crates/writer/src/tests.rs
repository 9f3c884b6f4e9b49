use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use batch::{Batch, Column};
use futures::FutureExt;
use futures::future::BoxFuture;
use model::{Labels, SeriesId, TenantId, TimestampMs};
use storage::{AppendError, RejectReason};

use crate::{Limits, PushReply, Replica, SampleSink, SampleSource, Writer};

/// A replica that holds what it was sent, and forgets definitions when told to.
#[derive(Default)]
struct Held {
    labels: BTreeMap<SeriesId, Labels>,
    samples: Vec<(String, i64, f64)>,
    batches: usize,
    definitions: usize,
    reply: Option<PushReply>,
}

#[derive(Clone, Default)]
struct Twin(Arc<Mutex<Held>>);

impl Replica for Twin {
    fn push(&self, batch: Batch) -> BoxFuture<'static, PushReply> {
        let mut held = self.0.lock().unwrap();
        let reply = held.reply.take().unwrap_or_else(|| held.take(&batch));
        futures::future::ready(reply).boxed()
    }
}

impl Held {
    fn take(&mut self, batch: &Batch) -> PushReply {
        self.batches += 1;
        let mut unknown = Vec::new();
        for column in batch.sections().iter().flat_map(|s| s.columns()) {
            match column {
                Column::Definitions(d) => {
                    for d in d {
                        self.definitions += 1;
                        self.labels.insert(d.id, d.labels.to_labels());
                    }
                }
                Column::Floats(f) => f.for_each_run(|id, samples| match self.labels.get(&id) {
                    Some(l) => self.samples.extend(samples.map(|(t, v)| (l.to_string(), t, v))),
                    None => unknown.push(id),
                }),
                Column::Exemplars(_) | Column::Metadata(_) => {}
            }
        }
        if unknown.is_empty() { PushReply::Ok { generation: 1 } } else { PushReply::Need(unknown) }
    }
}

struct Series(Vec<(Labels, Vec<(i64, f64)>)>);

impl SampleSource for Series {
    fn walk(&self, sink: &mut SampleSink<'_>) -> Result<(), String> {
        for (labels, samples) in &self.0 {
            if let Some(id) = sink.series(labels, samples.len() as u64) {
                samples.iter().for_each(|(t, v)| sink.sample(id, *t, *v));
            }
        }
        Ok(())
    }
}

const NOW: TimestampMs = TimestampMs(1_700_000_000_000);

fn labels(n: u32) -> Labels {
    Labels::from_pairs([("__name__", "m"), ("n", &n.to_string())]).unwrap()
}

fn writer() -> (Twin, Writer) {
    let twin = Twin::default();
    (twin.clone(), Writer::new(Arc::new(twin), 1, 1, 7, Limits::default()))
}

fn write(writer: &Writer, series: Series) -> Result<storage::AppendOutcome, AppendError> {
    writer.write(&TenantId::anonymous(), &series, NOW).now_or_never().unwrap()
}

#[test]
fn labels_travel_once_and_again_when_asked_for() {
    let (twin, writer) = writer();
    for round in 0..3 {
        write(&writer, Series(vec![(labels(1), vec![(NOW.0 + round, 1.0)]), (labels(2), vec![(NOW.0 + round, 2.0)])]))
            .unwrap();
    }
    assert_eq!(twin.0.lock().unwrap().definitions, 2);
    twin.0.lock().unwrap().labels.clear();
    write(&writer, Series(vec![(labels(1), vec![(NOW.0 + 9, 1.0)])])).unwrap();
    let held = twin.0.lock().unwrap();
    assert_eq!((held.definitions, held.samples.len()), (3, 7));
}

/// A series by an id that the caller remembers, and the labels that it tells when asked.
struct Remembered(SeriesId, Option<Labels>, std::sync::atomic::AtomicUsize);

impl SampleSource for Remembered {
    fn walk(&self, sink: &mut SampleSink<'_>) -> Result<(), String> {
        let labels = || {
            self.2.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            self.1.clone()
        };
        if let Some(id) = sink.known_series(self.0, labels, 1) {
            sink.sample(id, NOW.0, 1.0);
        }
        Ok(())
    }
}

#[test]
fn a_remembered_series_is_asked_for_its_labels_only_when_they_are_needed() {
    let (twin, writer) = writer();
    let id = SeriesId::compute(&TenantId::anonymous(), &labels(1), &mut Vec::new());
    let source = Remembered(id, Some(labels(1)), Default::default());
    let write = |source: &Remembered| {
        writer.write(&TenantId::anonymous(), source, NOW).now_or_never().unwrap().unwrap().stored_samples
    };
    assert_eq!((write(&source), write(&source)), (1, 1));
    assert_eq!(source.2.load(std::sync::atomic::Ordering::Relaxed), 1);
    twin.0.lock().unwrap().labels.clear();
    assert_eq!(write(&source), 1);
    assert_eq!(source.2.load(std::sync::atomic::Ordering::Relaxed), 2);
    assert_eq!(twin.0.lock().unwrap().samples.len(), 3);
    // Nobody knows the labels, or they are those of another series: nothing is written.
    let other = SeriesId(id.0 ^ 1);
    assert_eq!(write(&Remembered(other, None, Default::default())), 0);
    assert_eq!(write(&Remembered(other, Some(labels(2)), Default::default())), 0);
}

/// As [`Remembered`], of a source that says at which epoch it was written.
struct WrittenAt(Remembered, Option<u64>);

impl SampleSource for WrittenAt {
    fn walk(&self, sink: &mut SampleSink<'_>) -> Result<(), String> {
        if let Some(id) = sink.remembered_series(self.0.0, || self.0.1.clone(), 1) {
            sink.sample(id, NOW.0, 1.0);
        }
        Ok(())
    }

    fn defined_at(&self) -> Option<u64> {
        self.1
    }
}

#[test]
fn a_series_taken_for_known_is_defined_when_the_replica_asks() {
    let (twin, writer) = writer();
    let id = SeriesId::compute(&TenantId::anonymous(), &labels(1), &mut Vec::new());
    // Never written at all, and said to be: the replica knows better.
    let epoch = writer.epoch();
    let source = WrittenAt(Remembered(id, Some(labels(1)), Default::default()), Some(epoch));
    let written = writer.write(&TenantId::anonymous(), &source, NOW).now_or_never().unwrap().unwrap();
    assert_eq!((written.stored_samples, twin.0.lock().unwrap().definitions), (1, 1));
    assert_ne!(writer.epoch(), epoch, "what was forgotten changes the epoch");
    let batches = twin.0.lock().unwrap().batches;
    let source = WrittenAt(source.0, Some(writer.epoch()));
    writer.write(&TenantId::anonymous(), &source, NOW).now_or_never().unwrap().unwrap();
    let held = twin.0.lock().unwrap();
    assert_eq!((held.batches, held.definitions, held.samples.len()), (batches + 1, 1, 2));
}

#[test]
fn the_window_is_kept_at_the_door() {
    let (twin, writer) = writer();
    let (hour, minute) = (3_600_000, 60_000);
    let samples = vec![
        (NOW.0 - 3 * hour, 1.0),
        (NOW.0 - 3 * hour - 1, 2.0),
        (NOW.0 + 10 * minute, 3.0),
        (NOW.0 + 10 * minute + 1, 4.0),
    ];
    let outcome = write(&writer, Series(vec![(labels(1), samples)])).unwrap();
    assert_eq!(outcome.stored_samples, 2);
    let reasons: Vec<_> = outcome.rejections.iter().map(|r| (r.reason, r.sample_count)).collect();
    assert_eq!(reasons, [(RejectReason::TooOld, 1), (RejectReason::TooFarInFuture, 1)]);
    assert_eq!(twin.0.lock().unwrap().samples.iter().map(|s| s.2).collect::<Vec<_>>(), [1.0, 3.0]);
}

#[test]
fn what_does_not_fit_one_batch_goes_in_several() {
    let (twin, writer) = writer();
    let long = "x".repeat(60_000);
    let of = |n: u32| Labels::from_pairs([("__name__", "m"), ("n", &n.to_string()), ("long", &long)]).unwrap();
    let series = (0..50).map(|n| (of(n), vec![(NOW.0, 1.0)])).collect();
    assert_eq!(write(&writer, Series(series)).unwrap().stored_samples, 50);
    let many = (0..100_000).map(|i| (NOW.0 - i, 1.0)).collect();
    assert_eq!(write(&writer, Series(vec![(labels(1), many)])).unwrap().stored_samples, 100_000);
    assert!(twin.0.lock().unwrap().batches > 5);
    let too_long = Labels::from_pairs([("__name__", "m"), ("long", &"x".repeat(270_000))]).unwrap();
    let outcome = write(&writer, Series(vec![(too_long, vec![(NOW.0, 1.0)])])).unwrap();
    assert_eq!((outcome.stored_samples, outcome.rejections[0].reason), (0, RejectReason::InvalidLabels));
}

#[test]
fn what_a_replica_cannot_take_now_is_the_callers_to_send_again() {
    let (twin, writer) = writer();
    let one = || Series(vec![(labels(1), vec![(NOW.0, 1.0)])]);
    twin.0.lock().unwrap().reply = Some(PushReply::Full { limit_bytes: 5 });
    assert!(matches!(write(&writer, one()), Err(AppendError::Overload { limit_bytes: 5 })));
    twin.0.lock().unwrap().reply = Some(PushReply::NotNow("disk full".into()));
    assert!(matches!(write(&writer, one()), Err(AppendError::Unavailable(_))));
    twin.0.lock().unwrap().reply = Some(PushReply::Sealed(TimestampMs(5)));
    assert_eq!(write(&writer, one()).unwrap().rejections[0].reason, RejectReason::TooOld);
    assert_eq!(write(&writer, one()).unwrap().stored_samples, 1);
}
