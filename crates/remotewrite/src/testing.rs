//! Requests by hand, and what a writer stores of them.

use std::sync::{Arc, LazyLock, Mutex};

use batch::{Batch, Column};
use futures::FutureExt;
use model::{SampleValue, TenantId, TimestampMs};
use storage::{AppendError, AppendOutcome};
use tokio::runtime::Runtime;
use writer::testing::{TAKEN, saying};
use writer::{Limits, SampleSource};

use crate::decode::put_text;

/// A field with bytes.
pub(crate) fn bytes_field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    put_text(&mut out, content);
    out
}

/// A field with a number of eight bytes.
pub(crate) fn double(number: u8, v: f64) -> Vec<u8> {
    [&[number << 3 | 1][..], &v.to_le_bytes()].concat()
}

/// What came to a replica.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stored {
    /// All of it in words, sorted.
    pub(crate) lines: Vec<String>,
    /// Histograms, in the order in which they came.
    pub(crate) histograms: Vec<SampleValue>,
}

impl Stored {
    fn take(&mut self, batch: &Batch) {
        let mut labels = std::collections::BTreeMap::new();
        let Stored { lines, histograms } = self;
        for column in batch.sections().flat_map(|s| s.columns()) {
            match column {
                Column::Definitions(d) => d.for_each(|d| drop(labels.insert(d.id, d.labels.to_labels()))),
                Column::Floats(f) => {
                    f.for_each_run(|id, s| lines.extend(s.map(|(t, v)| format!("{} {v} @{t}", labels[&id]))));
                }
                Column::Histograms(h) => lines.extend(h.map(|h| {
                    let (kind, f) = match &h.value {
                        SampleValue::Histogram(i) => ("integers", i.to_float()),
                        SampleValue::FloatHistogram(f) => ("floats", (**f).clone()),
                        SampleValue::Float(_) => unreachable!("a column of histograms"),
                    };
                    let (bounds, buckets) = (&f.custom_values, &f.positive_buckets);
                    let line = format!("{} {kind} {} {bounds:?} {buckets:?} @{}", labels[&h.id], f.schema, h.timestamp);
                    histograms.push(h.value);
                    line
                })),
                Column::Exemplars(e) => {
                    lines.extend(e.map(|e| format!("exemplar {} {} @{}", e.labels.to_labels(), e.value, e.timestamp)));
                }
                Column::Metadata(m) => lines.extend(m.map(|m| {
                    let model::Metadata { metric_type, help, unit } = m.metadata;
                    format!("family {} {metric_type} {help:?} {unit:?}", m.name)
                })),
            }
        }
        lines.sort();
    }
}

/// Writers want one; what is written here waits for nothing.
static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap());

/// Writes a request at 100 ms, or says that there is none.
pub(crate) fn write(
    request: Result<&(impl SampleSource + Sync), String>,
) -> (Stored, Result<AppendOutcome, AppendError>) {
    let stored = Arc::<Mutex<Stored>>::default();
    let _within = RUNTIME.enter();
    let replica = stored.clone();
    let take = move |batch: &Batch| {
        replica.lock().unwrap().take(batch);
        TAKEN
    };
    let writer = saying(take, Limits::default());
    let outcome = match request {
        Ok(request) => writer.write(&TenantId::anonymous(), request, TimestampMs(100)).now_or_never().unwrap(),
        Err(why) => Err(AppendError::Malformed(why)),
    };
    let stored = stored.lock().unwrap().clone();
    (stored, outcome)
}
