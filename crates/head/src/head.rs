//! The head of a node: tenants, their partitions, and the gate that makes a batch visible at once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use batch::{Batch, Column, Section};
use disk::Disk;
use model::{Exemplar, Labels, Matcher, Metadata, PartitionId, SeriesId, TenantId, TimeRange, TimestampMs};
use parking_lot::{Mutex, RwLock};

use crate::chunk_files::ChunkFiles;
use crate::exemplars::{ExemplarRing, ExemplarSeries};
use crate::partition::Partition;
use crate::{Error, Recovered, snapshot};

/// Bounds of a head.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Number of partitions, a power of two, fixed at the birth of the cluster.
    pub partition_count: u32,
    /// Exemplars kept per tenant.
    pub exemplars_max: usize,
    /// Metric families whose metadata is kept per tenant.
    pub metadata_families_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { partition_count: 16, exemplars_max: 100_000, metadata_families_max: 100_000 }
    }
}

/// Recent samples of all tenants.
pub struct Head {
    pub(crate) limits: Limits,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) snapshots: PathBuf,
    pub(crate) tenants: RwLock<BTreeMap<TenantId, Arc<Tenant>>>,
    pub(crate) files: ChunkFiles,
    /// Position of the last batch applied. Held while a batch is applied and while a reader notes what it may see; so a reader
    /// never meets half a batch. Taken before any partition's lock.
    pub(crate) gate: Mutex<u64>,
    pub(crate) mint: AtomicI64,
    pub(crate) maxt: AtomicI64,
    pub(crate) appended: AtomicU64,
}

/// The series of one tenant.
pub(crate) struct Tenant {
    pub(crate) partitions: Vec<Mutex<Partition>>,
    pub(crate) exemplars: Mutex<ExemplarRing>,
    pub(crate) metadata: Mutex<BTreeMap<String, Metadata>>,
}

impl Tenant {
    pub(crate) fn new(partition_count: u32) -> Tenant {
        Tenant {
            partitions: (0..partition_count).map(|_| Mutex::default()).collect(),
            exemplars: Mutex::default(),
            metadata: Mutex::default(),
        }
    }
}

/// Where the series of a batch are, found by [`Head::check`] so that applying need not look them up again.
#[derive(Debug, Default)]
pub struct Refs(Vec<u32>);

/// Which times are wanted.
pub type Keep<'a> = &'a dyn Fn(TimestampMs) -> bool;

/// What applying a batch met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Samples of series that are unknown: only after damage to the log.
    pub unknown_series_samples: u64,
    /// Definitions that name other labels than those held under their id.
    pub conflicting_definitions: u64,
}

impl Applied {
    /// Adds what another part met.
    pub fn add(&mut self, other: Applied) {
        self.unknown_series_samples += other.unknown_series_samples;
        self.conflicting_definitions += other.conflicting_definitions;
    }
}

impl Head {
    /// Opens the head of `folder` (in it: `chunks/`, `snapshots/`) from its newest good snapshot.
    pub fn open(disk: Arc<dyn Disk>, folder: &Path, limits: Limits) -> Result<(Head, Recovered), Error> {
        assert!(limits.partition_count.is_power_of_two());
        snapshot::open(disk, folder, limits)
    }

    pub(crate) fn tenant(&self, id: &TenantId) -> Option<Arc<Tenant>> {
        self.tenants.read().get(id).cloned()
    }

    pub(crate) fn tenant_or_new(&self, id: &TenantId) -> Arc<Tenant> {
        if let Some(tenant) = self.tenant(id) {
            return tenant;
        }
        let mut tenants = self.tenants.write();
        tenants.entry(id.clone()).or_insert_with(|| Arc::new(Tenant::new(self.limits.partition_count))).clone()
    }

    /// Tenants that have or had data.
    pub fn tenants(&self) -> Vec<TenantId> {
        self.tenants.read().keys().cloned().collect()
    }

    /// Position of the last batch applied.
    pub fn applied(&self) -> u64 {
        *self.gate.lock()
    }

    /// Finds the series of a batch; the error names those that are neither held nor defined by it.
    pub fn check(&self, batch: &Batch) -> Result<Refs, Vec<SeriesId>> {
        let mut refs = Vec::new();
        let mut unknown = Vec::new();
        let mut defined = BTreeSet::new();
        let tenant = self.tenant(batch.tenant());
        for section in batch.sections() {
            let partition = tenant.as_ref().and_then(|t| t.partitions.get(section.partition.0 as usize));
            let mut partition = partition.map(|p| p.lock());
            for column in section.columns() {
                match column {
                    Column::Definitions(definitions) => defined.extend(definitions.map(|d| d.id)),
                    Column::Floats(floats) => {
                        let mut on_missing = |id| {
                            if !defined.contains(&id) {
                                unknown.push(id);
                            }
                        };
                        match &mut partition {
                            Some(partition) => partition.find_all(&floats, &mut refs, on_missing),
                            None => floats.ids().for_each(|id| {
                                on_missing(id);
                                refs.push(u32::MAX);
                            }),
                        }
                    }
                    Column::Histograms(histograms) => {
                        for entry in histograms {
                            let found = partition.as_ref().and_then(|p| p.find_live(entry.id));
                            if found.is_none() && !defined.contains(&entry.id) {
                                unknown.push(entry.id);
                            }
                            refs.push(found.unwrap_or(u32::MAX));
                        }
                    }
                    Column::Exemplars(exemplars) => {
                        for e in exemplars {
                            let found = partition.as_ref().is_some_and(|p| p.find_live(e.id).is_some());
                            if !found && !defined.contains(&e.id) {
                                unknown.push(e.id);
                            }
                        }
                    }
                    Column::Metadata(_) => {}
                }
            }
        }
        if unknown.is_empty() { Ok(Refs(refs)) } else { Err(unknown) }
    }

    /// The series of these batches that are not held and are defined by none of them, of those that have samples at times that
    /// `keep` wants.
    pub fn unknown<'a>(&self, batches: impl IntoIterator<Item = &'a Batch>, keep: Keep<'_>) -> BTreeSet<SeriesId> {
        let mut unknown = BTreeSet::new();
        let mut defined = BTreeSet::new();
        for section in batches.into_iter().flat_map(Batch::sections) {
            let tenant = self.tenant(section.tenant);
            let partition = tenant.as_ref().and_then(|t| t.partitions.get(section.partition.0 as usize));
            let partition = partition.map(|p| p.lock());
            let mut want = |id| {
                if partition.as_ref().is_none_or(|p| p.find_live(id).is_none()) {
                    unknown.insert(id);
                }
            };
            for column in section.columns() {
                match column {
                    Column::Definitions(definitions) => defined.extend(definitions.map(|d| d.id)),
                    Column::Floats(floats) => floats.for_each_run(|id, mut samples| {
                        if Iterator::any(&mut samples, |(t, _)| keep(TimestampMs(t))) {
                            want(id);
                        }
                    }),
                    Column::Histograms(histograms) => {
                        histograms.filter(|h| keep(TimestampMs(h.timestamp))).for_each(|h| want(h.id));
                    }
                    Column::Exemplars(_) | Column::Metadata(_) => {}
                }
            }
        }
        unknown.retain(|id| !defined.contains(id));
        unknown
    }

    /// Whose these series are, and their labels; those that are not held are left out.
    pub fn definitions(&self, ids: &[SeriesId]) -> Vec<(TenantId, PartitionId, SeriesId, Labels)> {
        let tenants: Vec<_> = self.tenants.read().iter().map(|(id, t)| (id.clone(), t.clone())).collect();
        let mut found = Vec::new();
        for id in ids {
            let place = id.partition(self.limits.partition_count);
            for (name, tenant) in &tenants {
                let Some(partition) = tenant.partitions.get(place.0 as usize) else { continue };
                let partition = partition.lock();
                if let Some(r) = partition.find(*id) {
                    found.push((name.clone(), place, *id, partition.get(r).labels.clone()));
                }
            }
        }
        found
    }

    /// Whether the batch defines an id under which other labels are held.
    pub fn conflicting_definition(&self, batch: &Batch) -> Option<SeriesId> {
        let tenant = self.tenant(batch.tenant())?;
        // In the steady state there is none, and no partition's lock is taken for it.
        for section in batch.sections().filter(Section::has_definitions) {
            let Some(partition) = tenant.partitions.get(section.partition.0 as usize) else { continue };
            let partition = partition.lock();
            for column in section.columns() {
                if let Column::Definitions(definitions) = column {
                    for d in definitions {
                        let held = partition.find(d.id).map(|r| &partition.get(r).labels);
                        if held.is_some_and(|l| l.as_packed() != d.labels.as_bytes()) {
                            return Some(d.id);
                        }
                    }
                }
            }
        }
        None
    }

    /// Applies a logged batch whole. Readers see all of it or nothing. After an error it may be applied again: what is there
    /// already is not added twice.
    pub fn apply(&self, position: u64, batch: &Batch, refs: &Refs) -> Result<Applied, Error> {
        self.apply_kept(position, batch, refs, None)
    }

    /// As [`Head::apply`], leaving out samples at times that `keep` does not want.
    pub fn apply_kept(
        &self,
        position: u64,
        batch: &Batch,
        refs: &Refs,
        keep: Option<Keep<'_>>,
    ) -> Result<Applied, Error> {
        let mut gate = self.gate.lock();
        assert!(position > *gate, "batch {position} after {}", *gate);
        let mut applied = Applied::default();
        let mut refs = refs.0.iter().copied();
        let tenant = self.tenant_or_new(batch.tenant());
        for section in batch.sections() {
            applied.add(self.apply_section(position, &tenant, section, &mut refs, keep)?);
        }
        self.note_bounds(batch);
        *gate = position;
        Ok(applied)
    }

    /// Applies one section while replaying a log: sections of different partitions may go in parallel, those of one partition in
    /// order. What the snapshot holds is passed over. No reader may be there yet.
    pub fn replay_section(
        &self,
        position: u64,
        section: Section<'_>,
        keep: Option<Keep<'_>>,
    ) -> Result<Applied, Error> {
        let tenant = self.tenant_or_new(section.tenant);
        self.apply_section(position, &tenant, section, &mut std::iter::empty(), keep)
    }

    /// Ends a replay: all up to `position` is applied.
    pub fn replayed(&self, position: u64) {
        let mut gate = self.gate.lock();
        *gate = position.max(*gate);
    }

    /// Takes the time bounds of a batch into account; [`Head::apply`] does it by itself.
    pub fn note_bounds(&self, batch: &Batch) {
        if let Some((mint, maxt)) = batch.time_bounds() {
            self.mint.fetch_min(mint, Ordering::Relaxed);
            self.maxt.fetch_max(maxt, Ordering::Relaxed);
            self.appended.fetch_add(batch.sample_count() as u64, Ordering::Relaxed);
        }
    }

    fn apply_section(
        &self,
        position: u64,
        tenant: &Tenant,
        section: Section<'_>,
        refs: &mut dyn Iterator<Item = u32>,
        keep: Option<Keep<'_>>,
    ) -> Result<Applied, Error> {
        let mut applied = Applied::default();
        let Some(partition) = tenant.partitions.get(section.partition.0 as usize) else {
            // Only a log of another partition count could hold this.
            return Ok(applied);
        };
        let mut partition = partition.lock();
        if partition.applied >= position {
            return Ok(applied);
        }
        for column in section.columns() {
            match column {
                Column::Definitions(definitions) => {
                    for d in definitions {
                        if !partition.define(d.id, || d.labels.to_labels()) {
                            applied.conflicting_definitions += 1;
                        }
                    }
                }
                Column::Floats(floats) => {
                    let mut failed = None;
                    floats.for_each_run(|id, samples| {
                        let hint = refs.next().unwrap_or(u32::MAX);
                        let appended = match keep {
                            None => partition.append(hint, id, samples, &self.files),
                            Some(keep) => {
                                let mut kept = samples.filter(|(t, _)| keep(TimestampMs(*t))).peekable();
                                if kept.peek().is_none() {
                                    return;
                                }
                                partition.append(hint, id, &mut kept, &self.files)
                            }
                        };
                        match appended {
                            Ok(true) => {}
                            Ok(false) => applied.unknown_series_samples += samples.count() as u64,
                            Err(e) => failed = Some(e),
                        }
                    });
                    if let Some(e) = failed {
                        return Err(e);
                    }
                }
                Column::Histograms(histograms) => {
                    for entry in histograms {
                        let hint = refs.next().unwrap_or(u32::MAX);
                        if keep.is_some_and(|keep| !keep(TimestampMs(entry.timestamp))) {
                            continue;
                        }
                        let sample = (entry.timestamp, entry.value);
                        if !partition.append_value(hint, entry.id, sample, &self.files)? {
                            applied.unknown_series_samples += 1;
                        }
                    }
                }
                Column::Exemplars(exemplars) => {
                    let mut ring = tenant.exemplars.lock();
                    for e in exemplars {
                        if let Some(r) = partition.find(e.id) {
                            let labels = &partition.get(r).labels;
                            let exemplar = Exemplar {
                                labels: e.labels.to_labels(),
                                value: e.value,
                                timestamp: Some(TimestampMs(e.timestamp)),
                            };
                            ring.add(e.id, labels, exemplar, self.limits.exemplars_max);
                        }
                    }
                }
                Column::Metadata(entries) => {
                    let mut metadata = tenant.metadata.lock();
                    for e in entries {
                        if metadata.len() < self.limits.metadata_families_max || metadata.contains_key(&e.name) {
                            metadata.insert(e.name, e.metadata);
                        }
                    }
                }
            }
        }
        partition.applied = position;
        Ok(applied)
    }

    /// Forgets samples that end before `t`, and series that have none left (at the next call, if nothing comes for them).
    pub fn collect_garbage(&self, t: TimestampMs) -> usize {
        let tenants: Vec<_> = self.tenants.read().values().cloned().collect();
        let mut gone = 0;
        for tenant in tenants {
            for partition in &tenant.partitions {
                gone += partition.lock().collect_garbage(t.0);
            }
        }
        self.mint.fetch_max(t.0.min(self.maxt.load(Ordering::Relaxed)), Ordering::Relaxed);
        gone
    }

    /// Gives memory of mapped chunks back to the kernel.
    pub fn drop_resident(&self) -> Result<(), Error> {
        self.files.drop_resident()
    }

    /// Metadata of metric families, by name.
    pub fn metadata(&self, tenant: &TenantId) -> BTreeMap<String, Metadata> {
        self.tenant(tenant).map(|t| t.metadata.lock().clone()).unwrap_or_default()
    }

    /// Exemplars of series for which all matchers of one set hold.
    pub fn exemplars(&self, tenant: &TenantId, range: TimeRange, sets: &[Vec<Matcher>]) -> Vec<ExemplarSeries> {
        let Some(tenant) = self.tenant(tenant) else { return Vec::new() };
        let ring = tenant.exemplars.lock();
        ring.select(range, |labels| sets.iter().any(|set| set.iter().all(|m| m.matches_labels(labels))))
    }

    /// Least and greatest timestamp held; `None` when empty.
    pub fn time_bounds(&self) -> Option<(TimestampMs, TimestampMs)> {
        let (mint, maxt) = (self.mint.load(Ordering::Relaxed), self.maxt.load(Ordering::Relaxed));
        (mint <= maxt).then_some((TimestampMs(mint), TimestampMs(maxt)))
    }
}
