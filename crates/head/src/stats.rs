//! What `/api/v1/status/tsdb` and metrics say about the head.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use model::{METRIC_NAME, TenantId};

use crate::head::Head;

/// Sizes of a head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeadStats {
    /// Series held.
    pub series_count: u64,
    /// Chunks held, open ones included.
    pub chunk_count: u64,
    /// Samples taken since the start.
    pub appended_samples: u64,
}

/// The most frequent things of a tenant, most frequent first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cardinality {
    /// Label pairs in all.
    pub label_pair_count: u64,
    /// Series by metric name.
    pub series_by_metric: Vec<(String, u64)>,
    /// Distinct values by label name.
    pub values_by_label: Vec<(String, u64)>,
    /// Bytes of values by label name.
    pub bytes_by_label: Vec<(String, u64)>,
    /// Series by `name=value`.
    pub series_by_pair: Vec<(String, u64)>,
}

impl Head {
    /// Sizes over all tenants.
    pub fn stats(&self) -> HeadStats {
        let mut stats = HeadStats { appended_samples: self.appended.load(Ordering::Relaxed), ..HeadStats::default() };
        let tenants: Vec<_> = self.tenants.read().values().cloned().collect();
        for tenant in tenants {
            for partition in &tenant.partitions {
                for s in partition.lock().series() {
                    stats.series_count += 1;
                    let late = s.rare.as_ref().map_or(0, |l| l.chunks.len() + 1);
                    stats.chunk_count += (s.sealed.len() + late) as u64 + u64::from(s.open.sample_count() > 0);
                }
            }
        }
        stats
    }

    /// What a tenant's series consist of; each list has at most `limit` entries.
    pub fn cardinality(&self, tenant: &TenantId, limit: usize) -> Cardinality {
        let Some(tenant) = self.tenant(tenant) else { return Cardinality::default() };
        let mut pairs: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
        for partition in &tenant.partitions {
            let partition = partition.lock();
            for name in partition.postings().names() {
                let values = pairs.entry(name.to_owned()).or_default();
                for (value, count) in partition.postings().values(name) {
                    match values.get_mut(value) {
                        Some(n) => *n += count as u64,
                        None => {
                            values.insert(value.to_owned(), count as u64);
                        }
                    }
                }
            }
        }
        let by_name =
            |f: &dyn Fn(&BTreeMap<String, u64>) -> u64| pairs.iter().map(|(n, v)| (n.clone(), f(v))).collect();
        let values_by_label: Vec<(String, u64)> = by_name(&|v| v.len() as u64);
        let bytes_by_label = by_name(&|v| v.keys().map(|v| v.len() as u64).sum());
        let metrics = pairs.get(METRIC_NAME).into_iter().flatten().map(|(n, c)| (n.clone(), *c)).collect();
        let pair = |(n, values): (&String, &BTreeMap<String, u64>)| {
            values.iter().map(|(v, c)| (format!("{n}={v}"), *c)).collect::<Vec<_>>()
        };
        Cardinality {
            label_pair_count: values_by_label.iter().map(|(_, n)| n).sum(),
            series_by_metric: top(metrics, limit),
            values_by_label: top(values_by_label, limit),
            bytes_by_label: top(bytes_by_label, limit),
            series_by_pair: top(pairs.iter().flat_map(pair).collect(), limit),
        }
    }
}

fn top(mut entries: Vec<(String, u64)>, limit: usize) -> Vec<(String, u64)> {
    entries.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    entries.truncate(limit);
    entries
}
