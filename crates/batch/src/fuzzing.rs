//! Entry points for fuzzing: batches of peers and of the log.

use crate::{Batch, BatchBuilder, Column};

/// What is taken can be walked whole, and says the same once it is built anew.
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
                    all.for_each(|d| builder.define(&section.tenant, section.partition, d.id, d.labels.as_bytes()));
                }
                Column::Floats(floats) => floats.for_each_run(|id, samples| {
                    samples.for_each(|(t, v)| builder.push(&section.tenant, section.partition, id, t, v));
                }),
                Column::Exemplars(all) => all.for_each(|e| {
                    let labels = e.labels.to_labels();
                    builder.exemplar(&section.tenant, section.partition, e.id, e.timestamp, e.value, &labels);
                }),
                Column::Metadata(all) => {
                    all.for_each(|m| builder.metadata(&section.tenant, section.partition, &m.name, &m.metadata));
                }
            }
        }
    }
    let mut again = Vec::new();
    builder.finish(batch.header(), &mut again);
    // Varints of any length are taken, so the batch that is built anew may be the longer one.
    if again.len() > crate::BATCH_BYTES_MAX {
        return;
    }
    let again = Batch::parse(again.into()).expect("we built it");
    assert_eq!(again.header(), batch.header());
    assert_eq!(walk(&again), said);
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
                Column::Exemplars(all) => drop(all.map(|e| e.labels.to_labels()).collect::<Vec<_>>()),
                Column::Metadata(all) => drop(all.collect::<Vec<_>>()),
            }
        }
    }
    samples.sort_unstable();
    samples
}
