//! Taking out of a batch what lies in time that takes no more samples.

use std::collections::HashSet;

use batch::{Batch, BatchBuilder, BatchHeader, Column};
use model::{SeriesId, TimestampMs};

/// What is left of a batch.
#[derive(Debug)]
pub(crate) struct Rest {
    /// The batch's bytes under its new name, and what it defines; `None` where nothing is left.
    pub(crate) batch: Option<(Vec<u8>, Vec<SeriesId>)>,
    /// Samples that were taken out.
    pub(crate) sample_count: u64,
    /// Those of them that were histograms.
    pub(crate) histogram_count: u64,
}

/// Leaves out samples before `sealed_before`, exemplars of that time, and definitions that nothing left needs. Metadata has no
/// time and stays.
pub(crate) fn split(batch: &Batch, sealed_before: TimestampMs, name: impl FnOnce() -> BatchHeader) -> Rest {
    let mut left = Left {
        builder: BatchBuilder::new(),
        sealed_before: sealed_before.0,
        used: HashSet::new(),
        gone: Gone::default(),
    };
    left.take_samples(batch);
    let defined = left.take_definitions(batch);
    if left.builder.is_empty() {
        return Rest { batch: None, sample_count: left.gone.samples, histogram_count: left.gone.histograms };
    }
    let mut bytes = Vec::with_capacity(left.builder.byte_len_max());
    left.builder.finish(name(), batch.tenant(), &mut bytes);
    Rest { batch: Some((bytes, defined)), sample_count: left.gone.samples, histogram_count: left.gone.histograms }
}

struct Left {
    builder: BatchBuilder,
    sealed_before: i64,
    used: HashSet<SeriesId>,
    gone: Gone,
}

/// What was taken out; histograms are samples, too.
#[derive(Default)]
struct Gone {
    samples: u64,
    histograms: u64,
}

impl Left {
    fn take_samples(&mut self, batch: &Batch) {
        let Left { builder, sealed_before, used, gone } = self;
        let sealed_before = *sealed_before;
        for section in batch.sections() {
            let partition = section.partition;
            for column in section.columns() {
                match column {
                    Column::Definitions(_) => {}
                    Column::Floats(floats) => floats.for_each_run(|id, samples| {
                        for (at, value) in samples {
                            if at < sealed_before {
                                gone.samples += 1;
                            } else {
                                used.insert(id);
                                builder.push(partition, id, at, value);
                            }
                        }
                    }),
                    Column::Histograms(histograms) => {
                        for h in histograms {
                            if h.timestamp < sealed_before {
                                gone.samples += 1;
                                gone.histograms += 1;
                            } else {
                                used.insert(h.id);
                                builder.value(partition, h.id, h.timestamp, &h.value);
                            }
                        }
                    }
                    Column::Exemplars(exemplars) => {
                        for e in exemplars.filter(|e| e.timestamp >= sealed_before) {
                            used.insert(e.id);
                            builder.exemplar(partition, e.id, e.timestamp, e.value, &e.labels.to_labels());
                        }
                    }
                    Column::Metadata(entries) => {
                        entries.for_each(|m| builder.metadata(partition, &m.name, &m.metadata));
                    }
                }
            }
        }
    }

    fn take_definitions(&mut self, batch: &Batch) -> Vec<SeriesId> {
        let mut defined = Vec::new();
        for section in batch.sections() {
            for column in section.columns() {
                let Column::Definitions(definitions) = column else { continue };
                for d in definitions.filter(|d| self.used.contains(&d.id)) {
                    self.builder.define(section.partition, d.id, d.labels.as_bytes());
                    defined.push(d.id);
                }
            }
        }
        defined
    }
}

#[cfg(test)]
mod tests {
    use model::{Histogram, Labels, Metadata, PartitionId, SampleValue, TenantId};

    use super::*;

    fn header(seq: u64) -> BatchHeader {
        BatchHeader { group: 3, generation: 1, writer: 9, seq }
    }

    fn packed(n: u32) -> (SeriesId, Labels) {
        let labels = Labels::from_pairs([("__name__", "m"), ("n", &n.to_string())]).unwrap();
        (SeriesId::compute(&TenantId::anonymous(), &labels, &mut Vec::new()), labels)
    }

    fn in_words(batch: &Batch) -> Vec<String> {
        let name = |id: SeriesId| (0..9).find(|n| packed(*n).0 == id).unwrap();
        let mut words = Vec::new();
        for column in batch.sections().flat_map(|s| s.columns()) {
            match column {
                Column::Definitions(d) => words.extend(d.map(|d| format!("define {}", name(d.id)))),
                Column::Floats(f) => {
                    f.for_each_run(|id, s| words.extend(s.map(|(t, v)| format!("{} {v}@{t}", name(id)))));
                }
                Column::Histograms(h) => words.extend(h.map(|h| format!("{} histogram@{}", name(h.id), h.timestamp))),
                Column::Exemplars(e) => words.extend(e.map(|e| format!("{} exemplar@{}", name(e.id), e.timestamp))),
                Column::Metadata(m) => words.extend(m.map(|m| format!("metadata {}", m.name))),
            }
        }
        words
    }

    fn batch(with_metadata: bool) -> Batch {
        let (tenant, place) = (TenantId::anonymous(), PartitionId(0));
        let mut builder = BatchBuilder::new();
        for n in 0..5 {
            let (id, labels) = packed(n);
            builder.define(place, id, labels.as_packed());
        }
        let id = |n| packed(n).0;
        for (n, at) in [(0, 5), (0, 10), (0, 20), (1, 9)] {
            builder.push(place, id(n), at, 1.0);
        }
        for (n, at) in [(2, 9), (2, 11), (3, 1)] {
            let histogram = SampleValue::Histogram(Box::<Histogram>::default());
            builder.value(place, id(n), at, &histogram);
        }
        for (n, at) in [(4, 10), (4, 9)] {
            builder.exemplar(place, id(n), at, 1.0, &Labels::default());
        }
        if with_metadata {
            builder.metadata(place, "m", &Metadata::default());
        }
        let mut bytes = Vec::new();
        builder.finish(header(1), &tenant, &mut bytes);
        Batch::parse(bytes.into()).unwrap()
    }

    #[test]
    fn what_is_not_sealed_goes_on_under_a_new_name_with_what_it_needs() {
        let rest = split(&batch(true), TimestampMs(10), || header(2));
        let (bytes, defined) = rest.batch.unwrap();
        let left = Batch::parse(bytes.into()).unwrap();
        assert_eq!((left.header(), rest.sample_count, rest.histogram_count), (header(2), 4, 2));
        let words = "define 0|define 2|define 4|0 1@10|0 1@20|2 histogram@11|4 exemplar@10|metadata m";
        assert_eq!(in_words(&left).join("|"), words);
        assert_eq!(defined, [0, 2, 4].map(|n| packed(n).0));
        let rest = split(&batch(true), TimestampMs(100), || header(2));
        let left = Batch::parse(rest.batch.unwrap().0.into()).unwrap();
        assert_eq!((in_words(&left).join("|"), rest.sample_count), ("metadata m".to_owned(), 7));
        let rest = split(&batch(false), TimestampMs(100), || unreachable!());
        assert!(rest.batch.is_none());
        assert_eq!((rest.sample_count, rest.histogram_count), (7, 3));
    }
}
