//! Exemplars and metadata: what any replica has of them, without a promise.

use std::collections::BTreeMap;

use cluster::GroupId;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use model::{Exemplar, Labels, Matcher, Metadata, TenantId, TimeRange};
use peer::{Answer, Exemplars, Member};
use replication::live_members;
use tokio::time::Instant;

use crate::Cluster;

/// Most exemplars of an answer: more than a graph shows.
const EXEMPLARS_MAX: usize = 100_000;

/// Most families of an answer.
const FAMILIES_MAX: usize = 1_000_000;

impl Cluster {
    /// Exemplars of series of which one of the sets of matchers holds: the union of what all replicas have that answer. At most
    /// 100,000.
    pub async fn exemplars(&self, tenant: TenantId, range: TimeRange, sets: Vec<Vec<Matcher>>) -> Vec<Exemplars> {
        let answers = self.ask_all(|member| member.exemplars(tenant.clone(), range, sets.clone())).await;
        let mut by_series: BTreeMap<Labels, Vec<Exemplar>> = BTreeMap::new();
        let mut count = 0;
        for series in answers.into_iter().flatten() {
            let known = by_series.entry(series.labels).or_default();
            for exemplar in series.exemplars {
                if count < EXEMPLARS_MAX && !known.contains(&exemplar) {
                    known.push(exemplar);
                    count += 1;
                }
            }
        }
        by_series.retain(|_, exemplars| !exemplars.is_empty());
        let sorted = |(labels, mut exemplars): (Labels, Vec<Exemplar>)| {
            exemplars.sort_by_key(|exemplar| exemplar.timestamp);
            Exemplars { labels, exemplars }
        };
        by_series.into_iter().map(sorted).collect()
    }

    /// Metadata of metric families, by name: of each what one of the replicas has that answer.
    pub async fn metadata(&self, tenant: TenantId) -> BTreeMap<String, Metadata> {
        let answers = self.ask_all(|member| member.metadata(tenant.clone())).await;
        let mut all = BTreeMap::new();
        for (family, metadata) in answers.into_iter().flatten() {
            if all.len() < FAMILIES_MAX {
                all.entry(family).or_insert(metadata);
            }
        }
        all
    }

    /// The answers of all replicas, in the order of groups and members. Once one of each group has answered the others are
    /// waited for no longer than slow ones are.
    async fn ask_all<T: Send + 'static>(&self, ask: impl Fn(&dyn Member) -> Answer<T>) -> Vec<T> {
        let shared = self.shared();
        let map = shared.map();
        let mut asking = FuturesUnordered::new();
        for group in map.groups() {
            for (rank, replica) in live_members(group).into_iter().enumerate() {
                let Some(member) = shared.members.member(&replica) else { continue };
                let (answer, place) = (ask(&*member), (group.id(), rank));
                asking.push(async move { (place, answer.await) });
            }
        }
        let mut found: BTreeMap<(GroupId, usize), T> = BTreeMap::new();
        let begun = Instant::now();
        let end = begun + shared.timing.give_up_after;
        loop {
            let each = map.groups().iter().all(|group| found.keys().any(|(of, _)| *of == group.id()));
            let until = if each { begun + shared.timing.hedge_after } else { end };
            match tokio::time::timeout_at(until, asking.next()).await {
                Ok(Some((place, Ok(answer)))) => drop(found.insert(place, answer)),
                Ok(Some((_, Err(_)))) => {}
                Ok(None) | Err(_) => return found.into_values().collect(),
            }
        }
    }
}
