//! Entry points for fuzzing: batches of peers and of the log.

use crate::{Batch, BatchBuilder, Column};

/// What is taken can be walked whole, says the same once it is built anew, and twice that once it is joined with itself.
pub fn fuzz_batch(bytes: &[u8]) {
    let Ok(batch) = Batch::parse(bytes.to_vec().into()) else { return };
    let said = walk(&batch);
    assert_eq!(said.len(), batch.sample_count());
    let times = || said.iter().map(|s| s.3);
    assert_eq!(times().min().zip(times().max()), batch.time_bounds());
    let mut builder = BatchBuilder::new();
    for section in batch.sections() {
        for column in section.columns() {
            match column {
                Column::Definitions(all) => {
                    all.for_each(|d| builder.define(section.partition, d.id, d.labels.as_bytes()));
                }
                Column::Floats(floats) => floats.for_each_run(|id, samples| {
                    samples.for_each(|(t, v)| builder.push(section.partition, id, t, v));
                }),
                Column::Histograms(all) => all.for_each(|h| {
                    builder.value(section.partition, h.id, h.timestamp, &h.value);
                }),
                Column::Exemplars(all) => all.for_each(|e| {
                    let labels = e.labels.to_labels();
                    builder.exemplar(section.partition, e.id, e.timestamp, e.value, &labels);
                }),
                Column::Metadata(all) => {
                    all.for_each(|m| builder.metadata(section.partition, &m.name, &m.metadata));
                }
            }
        }
    }
    let mut again = Vec::new();
    builder.finish(batch.header(), batch.tenant(), &mut again);
    // A batch may be written in more ways than one, so that which is built anew may be the longer one.
    if again.len() <= crate::BATCH_BYTES_MAX {
        let again = Batch::parse(again.into()).expect("we built it");
        assert_eq!((again.header(), again.tenant()), (batch.header(), batch.tenant()));
        assert_eq!(walk(&again), said);
    }
    let mut twice = Vec::new();
    Batch::join(batch.header(), &[batch.clone(), batch.clone()], &mut twice);
    assert!(twice.len() <= 2 * batch.joined_bytes_max());
    if twice.len() <= crate::BATCH_BYTES_MAX {
        let twice = Batch::parse(twice.into()).expect("we joined it");
        assert_eq!(twice.sections().len(), batch.sections().len());
        assert_eq!(walk(&twice), said.iter().flat_map(|one| [one.clone(), one.clone()]).collect::<Vec<_>>());
    }
}

/// All samples, in an order that does not depend on sections, and everything else read once.
fn walk(batch: &Batch) -> Vec<(String, u32, u128, i64, u64)> {
    let mut samples = Vec::new();
    for section in batch.sections() {
        for column in section.columns() {
            match column {
                Column::Definitions(all) => all.for_each(|d| assert!(d.labels.to_labels().iter().count() < 1 << 20)),
                Column::Floats(floats) => {
                    assert_eq!(floats.ids().count(), floats.run_count());
                    floats.for_each_run(|id, run| {
                        let of = |(t, v): (i64, f64)| {
                            (section.tenant.to_string(), section.partition.0, id.0, t, v.to_bits())
                        };
                        samples.extend(run.map(of));
                    });
                }
                Column::Histograms(all) => samples.extend(all.map(|h| {
                    let said = xxhash_rust::xxh3::xxh3_64(format!("{:?}", h.value).as_bytes());
                    (section.tenant.to_string(), section.partition.0, h.id.0, h.timestamp, said)
                })),
                Column::Exemplars(all) => drop(all.map(|e| e.labels.to_labels()).collect::<Vec<_>>()),
                Column::Metadata(all) => drop(all.collect::<Vec<_>>()),
            }
        }
    }
    samples.sort_unstable();
    samples
}
