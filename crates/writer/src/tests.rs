//! A group of one: what is written, what is refused, what is asked for. Groups of three: `groups`, `faults`, `joining`.

mod faults;
mod groups;
mod joining;
mod support;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use batch::{Batch, Column};
use model::{Labels, SeriesId, TenantId, TimestampMs};
use replication::replica::{NotNow, PushReply};
use storage::{AppendError, RejectReason};

use crate::testing::{TAKEN, saying};
use crate::{Limits, SampleSink, SampleSource, Writer};

/// A replica that holds what it was sent, and forgets definitions when told to.
#[derive(Default)]
struct Held {
    labels: BTreeMap<SeriesId, Labels>,
    samples: Vec<(String, i64, f64)>,
    batches: usize,
    definitions: usize,
    reply: Option<PushReply>,
}

type Twin = Arc<Mutex<Held>>;

impl Held {
    fn take(&mut self, batch: &Batch) -> PushReply {
        if let Some(reply) = self.reply.take() {
            return reply;
        }
        self.batches += 1;
        let mut unknown = Vec::new();
        for column in batch.sections().flat_map(|s| s.columns()) {
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
                Column::Histograms(_) | Column::Exemplars(_) | Column::Metadata(_) => {}
            }
        }
        if unknown.is_empty() { TAKEN } else { PushReply::Need(unknown) }
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
    let replica = twin.clone();
    (twin, saying(move |batch| replica.lock().unwrap().take(batch), Limits::default()))
}

async fn write(writer: &Writer, series: Series) -> Result<storage::AppendOutcome, AppendError> {
    writer.write(&TenantId::anonymous(), &series, NOW).await
}

#[tokio::test]
async fn labels_travel_once_and_again_when_asked_for() {
    let (twin, writer) = writer();
    for round in 0..3 {
        let series = vec![(labels(1), vec![(NOW.0 + round, 1.0)]), (labels(2), vec![(NOW.0 + round, 2.0)])];
        write(&writer, Series(series)).await.unwrap();
    }
    let counted = |held: std::sync::MutexGuard<'_, Held>| (held.definitions, held.batches);
    assert_eq!(counted(twin.lock().unwrap()), (2, 3));
    twin.lock().unwrap().labels.clear();
    write(&writer, Series(vec![(labels(1), vec![(NOW.0 + 9, 1.0)])])).await.unwrap();
    let held = twin.lock().unwrap();
    assert_eq!((held.definitions, held.samples.len()), (3, 7));
    assert_eq!(held.batches, 6, "what was not known, its definitions, and the same again");
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

#[tokio::test]
async fn a_remembered_series_is_asked_for_its_labels_only_when_they_are_needed() {
    let (twin, writer) = writer();
    let id = SeriesId::compute(&TenantId::anonymous(), &labels(1), &mut Vec::new());
    let source = Remembered(id, Some(labels(1)), Default::default());
    let write =
        async |source: &Remembered| writer.write(&TenantId::anonymous(), source, NOW).await.unwrap().stored_samples;
    assert_eq!((write(&source).await, write(&source).await), (1, 1));
    assert_eq!(source.2.load(std::sync::atomic::Ordering::Relaxed), 1);
    twin.lock().unwrap().labels.clear();
    assert_eq!(write(&source).await, 1);
    assert_eq!(source.2.load(std::sync::atomic::Ordering::Relaxed), 2);
    assert_eq!(twin.lock().unwrap().samples.len(), 3);
    // Nobody knows the labels, or they are those of another series: nothing is written.
    let other = SeriesId(id.0 ^ 1);
    assert_eq!(write(&Remembered(other, None, Default::default())).await, 0);
    assert_eq!(write(&Remembered(other, Some(labels(2)), Default::default())).await, 0);
}

/// As [`Remembered`], of a source that says at which epoch it was written.
struct WrittenAt(Remembered, Option<u64>);

impl SampleSource for WrittenAt {
    fn walk(&self, sink: &mut SampleSink<'_>) -> Result<(), String> {
        sink.last_written_at(self.1);
        if let Some(id) = sink.remembered_series(self.0.0, || self.0.1.clone(), 1) {
            sink.sample(id, NOW.0, 1.0);
        }
        Ok(())
    }
}

#[tokio::test]
async fn a_series_taken_for_known_is_defined_when_the_replica_asks() {
    let (twin, writer) = writer();
    let id = SeriesId::compute(&TenantId::anonymous(), &labels(1), &mut Vec::new());
    // Never written at all, and said to be: the replica knows better.
    let epoch = writer.epoch();
    let source = WrittenAt(Remembered(id, Some(labels(1)), Default::default()), Some(epoch));
    let written = writer.write(&TenantId::anonymous(), &source, NOW).await.unwrap();
    assert_eq!((written.stored_samples, twin.lock().unwrap().definitions), (1, 1));
    assert_ne!(writer.epoch(), epoch, "what was forgotten changes the epoch");
    let batches = twin.lock().unwrap().batches;
    let source = WrittenAt(source.0, Some(writer.epoch()));
    writer.write(&TenantId::anonymous(), &source, NOW).await.unwrap();
    let held = twin.lock().unwrap();
    assert_eq!((held.batches, held.definitions, held.samples.len()), (batches + 1, 1, 2));
}

#[tokio::test]
async fn the_window_is_kept_at_the_door() {
    let (twin, writer) = writer();
    let (hour, minute) = (3_600_000, 60_000);
    let samples = vec![
        (NOW.0 - 3 * hour, 1.0),
        (NOW.0 - 3 * hour - 1, 2.0),
        (NOW.0 + 10 * minute, 3.0),
        (NOW.0 + 10 * minute + 1, 4.0),
    ];
    let outcome = write(&writer, Series(vec![(labels(1), samples)])).await.unwrap();
    assert_eq!(outcome.stored_samples, 2);
    let reasons: Vec<_> = outcome.rejections.iter().map(|r| (r.reason, r.sample_count)).collect();
    assert_eq!(reasons, [(RejectReason::TooOld, 1), (RejectReason::TooFarInFuture, 1)]);
    assert_eq!(twin.lock().unwrap().samples.iter().map(|s| s.2).collect::<Vec<_>>(), [1.0, 3.0]);
}

/// As [`WrittenAt`], of a source that cannot tell the labels any more.
#[tokio::test]
async fn what_nobody_can_define_is_left_out() {
    let (twin, writer) = writer();
    let id = SeriesId::compute(&TenantId::anonymous(), &labels(1), &mut Vec::new());
    let source = WrittenAt(Remembered(id, None, Default::default()), Some(writer.epoch()));
    let written = writer.write(&TenantId::anonymous(), &source, NOW).await.unwrap();
    assert_eq!((written.stored_samples, twin.lock().unwrap().definitions), (0, 0));
    assert_eq!(writer.stats().open_requests, 0);
}

#[tokio::test]
async fn what_does_not_fit_one_batch_goes_in_several() {
    let (twin, writer) = writer();
    let long = "x".repeat(60_000);
    let of = |n: u32| Labels::from_pairs([("__name__", "m"), ("n", &n.to_string()), ("long", &long)]).unwrap();
    let series = (0..50).map(|n| (of(n), vec![(NOW.0, 1.0)])).collect();
    assert_eq!(write(&writer, Series(series)).await.unwrap().stored_samples, 50);
    let many = (0..100_000).map(|i| (NOW.0 - i, 1.0)).collect();
    assert_eq!(write(&writer, Series(vec![(labels(1), many)])).await.unwrap().stored_samples, 100_000);
    assert!(twin.lock().unwrap().batches > 5);
    let too_long = Labels::from_pairs([("__name__", "m"), ("long", &"x".repeat(270_000))]).unwrap();
    let outcome = write(&writer, Series(vec![(too_long, vec![(NOW.0, 1.0)])])).await.unwrap();
    assert_eq!((outcome.stored_samples, outcome.rejections[0].reason), (0, RejectReason::InvalidLabels));
    assert_eq!(twin.lock().unwrap().samples.len(), 100_050);
}

#[tokio::test]
async fn each_batch_can_be_taken_without_the_others() {
    let writer = saying(
        |batch| {
            let mut twin = Held::default();
            twin.take(batch)
        },
        Limits::default(),
    );
    let many = |n: u32| (labels(n), (0..60_000).map(|i| (NOW.0 - i, 1.0)).collect());
    // The replica forgets everything between two batches, and is never in need.
    assert_eq!(write(&writer, Series(vec![many(1), many(2)])).await.unwrap().stored_samples, 120_000);
    assert!(writer.stats().refusals.iter().all(|(_, count)| *count == 0));
}

#[tokio::test]
async fn a_request_larger_than_what_may_be_in_flight_goes_in_turns() {
    let in_flight = replication::writer::Limits {
        in_flight_bytes_max: 1 << 20,
        replica_bytes_max: 1 << 20,
        ..replication::writer::Limits::default()
    };
    let writer = saying(|_| TAKEN, Limits { in_flight, ..Limits::default() });
    let many = (0..300_000).map(|i| (NOW.0 - i, 1.0)).collect();
    assert_eq!(write(&writer, Series(vec![(labels(1), many)])).await.unwrap().stored_samples, 300_000);
}

#[tokio::test]
async fn what_a_replica_cannot_take_now_is_the_callers_to_send_again() {
    let (twin, writer) = writer();
    let one = || Series(vec![(labels(1), vec![(NOW.0, 1.0)])]);
    let says = |reply| twin.lock().unwrap().reply = Some(reply);
    says(PushReply::Full { limit_bytes: 5 });
    assert!(matches!(write(&writer, one()).await, Err(AppendError::Overload { limit_bytes: 5 })));
    says(PushReply::NotNow(NotNow::Unavailable));
    let refused = write(&writer, one()).await.unwrap_err().to_string();
    assert!(refused.ends_with("takes nothing now: unavailable"), "{refused}");
    says(PushReply::Refused("series m{} is held with other labels".to_owned()));
    let AppendError::Malformed(refused) = write(&writer, one()).await.unwrap_err() else { panic!("to be tried again") };
    assert!(refused.ends_with("series m{} is held with other labels"), "{refused}");
    let counted: Vec<_> = writer.stats().refusals.into_iter().filter(|(_, count)| *count > 0).collect();
    let counted: Vec<_> = counted.iter().map(|(refusal, count)| (refusal.as_str(), *count)).collect();
    assert_eq!(counted, [("unavailable", 1), ("full", 1), ("refused", 1)]);
    says(PushReply::Sealed(TimestampMs(NOW.0 + 5)));
    assert_eq!(write(&writer, one()).await.unwrap().rejections[0].reason, RejectReason::TooOld);
    assert_eq!(write(&writer, one()).await.unwrap().stored_samples, 1);
}

#[tokio::test]
async fn a_group_of_one_is_called_by_the_request_itself() {
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let calls = Arc::new(Mutex::new(Vec::new()));
    let seen = calls.clone();
    let writer = saying(
        move |batch| {
            seen.lock().unwrap().push((batch.header().seq, tasks()));
            TAKEN
        },
        Limits::default(),
    );
    let before = tasks();
    for _ in 0..10 {
        write(&writer, Series(vec![(labels(1), vec![(NOW.0, 1.0)])])).await.unwrap();
    }
    let calls = calls.lock().unwrap();
    assert!(calls.len() == 10 && calls.iter().all(|(_, tasks)| *tasks == before), "{calls:?}");
}
