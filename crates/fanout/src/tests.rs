//! The fan-out beside a naive model: everything acknowledged before the question is in the answer, or named as missing.

mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cluster::{ClusterMap, GroupId};
use futures::StreamExt;
use model::{Matcher, TenantId, TimeRange, TimestampMs};
use parking_lot::Mutex;
use replication::range::RANGE;
use storage::{LabelQuery, Queryable, SelectError, SelectRequest, Shard};
use tokio::sync::watch;

use self::world::{BASE, BlockState, Fake, Fault, HOUR, Held, NOW, RANGES, Random, World, replica, start_of};
use crate::{Cluster, Metrics, Timing};

/// How bad a world is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trouble {
    /// One member of each group and one of several stores at most: nothing may be missing.
    Mild,
    /// Anything.
    Wild,
}

/// A world that was made by a seed.
struct Case {
    seed: u64,
    fake: Fake,
    map: Arc<ClusterMap>,
    range: TimeRange,
    foreign: Held,
}

fn span(mint: i64, maxt: i64) -> TimeRange {
    TimeRange::new(TimestampMs(mint), TimestampMs(maxt))
}

fn fake(world: World) -> Fake {
    Fake { world: Arc::new(Mutex::new(world)), live: Arc::new(AtomicUsize::new(0)) }
}

fn cluster(fake: &Fake, map: Arc<ClusterMap>) -> (Cluster, Metrics, watch::Sender<Arc<ClusterMap>>) {
    let (sender, map) = watch::channel(map);
    let metrics = Metrics::default();
    let clock = Arc::new(|| TimestampMs(NOW));
    let (members, stores) = (Arc::new(fake.clone()), Arc::new(fake.clone()));
    (Cluster::new(map, members, stores, Timing::default(), clock, metrics.clone()), metrics, sender)
}

fn request(range: TimeRange) -> SelectRequest {
    SelectRequest {
        tenant: TenantId::anonymous(),
        range,
        matchers: vec![Matcher::equal("__name__", "m")],
        shard: Shard::ALL,
        with_chunks: true,
        series_max: 1_000_000,
    }
}

impl Case {
    fn new(seed: u64, trouble: Trouble) -> Case {
        let mut random = Random::new(seed);
        let groups = 1 + random.below(3) as u32;
        let mut world = World::new(seed, groups, 2 + random.below(2) as usize);
        world.write(5 + random.below(40), 4 + random.below(12));
        world.moves = random.one_in(2);
        let ids: Vec<GroupId> = world.groups.keys().copied().collect();
        for id in &ids {
            (0..random.below(6)).for_each(|_| world.close(*id));
            let closed = world.groups[id].closed;
            for member in world.groups.get_mut(id).unwrap().members.values_mut() {
                member.dropped = (closed - random.below(2) as i64).max(0);
                member.watermark = (member.dropped - random.below(4) as i64).max(0);
            }
        }
        let foreign = add_foreign(&mut world, &mut random);
        if random.one_in(3) {
            let pairs: Vec<u128> = world.blocks.keys().copied().collect();
            if let [a, b, ..] = pairs[..] {
                world.compact(a, b);
            }
        }
        // The querier's map may be older than the groups are.
        let mut map = world.map();
        for id in &ids {
            let moves_on = random.below(4);
            if moves_on < 2 {
                world.replace_last(*id);
            }
            if random.one_in(2) {
                map = world.map();
            }
            if moves_on == 0 {
                world.fill(*id);
            }
        }
        match trouble {
            Trouble::Mild => mild(&mut world, &mut random),
            Trouble::Wild => wild(&mut world, &mut random, &mut map),
        }
        let mint = BASE - HOUR + random.below((RANGES * RANGE.0) as u64) as i64;
        let range = span(mint, mint + 1 + random.below((RANGES * RANGE.0) as u64) as i64);
        Case { seed, fake: fake(world), map, range, foreign }
    }

    /// Everything that must be in the answer, by the group whose it is.
    fn expected(&self) -> Vec<(Option<GroupId>, u128, i64)> {
        let world = self.fake.world.lock();
        let of_groups = world.groups.iter().map(|(id, group)| (Some(*id), &group.acked));
        let all = of_groups.chain([(None, &self.foreign)]);
        let samples = all.flat_map(|(group, held)| {
            held.iter().flat_map(move |(id, samples)| samples.iter().map(move |ts| (group, *id, *ts)))
        });
        samples.filter(|(_, _, ts)| self.range.contains(TimestampMs(*ts))).collect()
    }

    /// What was written anywhere.
    fn written(&self) -> BTreeSet<(u128, i64)> {
        let world = self.fake.world.lock();
        let of_members = world.groups.values().flat_map(|group| group.members.values().map(|m| &m.held));
        let of_blocks = world.blocks.values().map(|block| &block.held);
        of_members
            .chain(of_blocks)
            .flat_map(|held| held.iter().flat_map(|(id, s)| s.iter().map(|ts| (*id, *ts))))
            .collect()
    }

    fn check_named(&self, lacking: &[(Option<GroupId>, u128, i64)], warnings: &[String]) {
        let named: Vec<_> = warnings.iter().map(|warning| parse(warning)).collect();
        for (group, id, ts) in lacking {
            let is_named =
                named.iter().any(|(of, range)| (of == group || of.is_none()) && range.contains(TimestampMs(*ts)));
            assert!(is_named, "seed {}: series {id} at {ts} of {group:?} is missing: {warnings:?}", self.seed);
        }
        let world = self.fake.world.lock();
        for hole in world.control.map().holes().iter().filter(|hole| hole.range.overlaps(&self.range)) {
            let is_named = self.map.holes().iter().all(|known| known != hole)
                || named.iter().any(|(of, range)| *of == Some(hole.group) && range.overlaps(&hole.range));
            assert!(is_named, "seed {}: {hole:?} is not named: {warnings:?}", self.seed);
        }
    }
}

/// A block of another Prometheus, older than what is written here.
fn add_foreign(world: &mut World, random: &mut Random) -> Held {
    let mut foreign = Held::new();
    if random.one_in(2) {
        return foreign;
    }
    for _ in 0..random.below(20) {
        let ts = BASE + random.below((RANGE.0 * 3) as u64) as i64;
        foreign.entry(u128::from(random.below(400))).or_default().insert(ts);
    }
    let range = span(BASE, BASE + RANGE.0 * 3);
    world.add_block(BlockState { held: foreign.clone(), origin: None, range, sources: vec![], damaged: false });
    foreign
}

fn mild(world: &mut World, random: &mut Random) {
    for (id, group) in &mut world.groups {
        // While one is being replaced, it is the one that is in trouble.
        let number = if group.members.len() > 3 { 2 } else { random.below(3) as usize };
        if random.below(3) > 0 {
            group.members.get_mut(&replica(id.0, number)).unwrap().fault = Fault::pick(random);
        }
    }
    if random.below(3) > 0 {
        world.stores.values_mut().next().unwrap().fault = Fault::pick(random);
    }
}

fn wild(world: &mut World, random: &mut Random, map: &mut Arc<ClusterMap>) {
    for group in world.groups.values_mut() {
        for member in group.members.values_mut() {
            if random.one_in(3) {
                member.fault = Fault::pick(random);
            }
        }
    }
    let blocks: Vec<u128> = world.blocks.keys().copied().collect();
    for store in world.stores.values_mut() {
        if random.one_in(3) {
            store.fault = Fault::pick(random);
        }
        if random.one_in(3) {
            store.index_age = Duration::from_secs(7200);
        }
        store.lacks = blocks.iter().copied().filter(|_| random.one_in(4)).collect();
        store.set_aside = blocks.iter().copied().filter(|_| random.one_in(20)).collect();
    }
    for block in world.blocks.values_mut() {
        block.damaged = random.one_in(10);
    }
    if random.one_in(3) {
        let mint = BASE + random.below(RANGE.0 as u64 * 4) as i64;
        world.record_hole(GroupId(0), span(mint, mint + HOUR));
        *map = world.map();
    }
}

/// The group and the range that a warning names.
fn parse(warning: &str) -> (Option<GroupId>, TimeRange) {
    let (who, rest) = warning.split_once(": samples between ").unwrap();
    let group = who.strip_prefix("group ").map(|number| GroupId(number.parse().unwrap()));
    let (mint, rest) = rest.split_once(" and ").unwrap();
    let (maxt, _) = rest.split_once(" (ms)").unwrap();
    (group, span(mint.parse().unwrap(), maxt.parse().unwrap()))
}

/// The samples of an answer, of which each series came once, in order, and no chunk twice; and its warnings.
async fn read(
    cluster: &Cluster,
    request: SelectRequest,
) -> Result<(BTreeMap<u128, BTreeSet<i64>>, Vec<String>), SelectError> {
    let mut selection = cluster.select(request);
    let mut found = BTreeMap::new();
    while let Some(batch) = selection.next().await {
        for series in batch? {
            let last: Option<&u128> = found.keys().next_back();
            assert!(last.is_none_or(|last| *last < series.id.0), "sorted, and each once");
            let chunks: BTreeSet<_> = series.chunks.iter().map(|chunk| chunk.data.clone()).collect();
            assert_eq!(chunks.len(), series.chunks.len(), "no chunk comes twice");
            assert!(series.chunks.is_sorted_by_key(|chunk| chunk.mint));
            let of_chunk = |data: &bytes::Bytes| -> Vec<i64> {
                data.as_chunks::<8>().0.iter().map(|ts| i64::from_le_bytes(*ts)).collect()
            };
            found.insert(series.id.0, chunks.iter().flat_map(of_chunk).collect());
        }
    }
    Ok((found, selection.missing()))
}

async fn check_select(case: &Case, trouble: Trouble) -> usize {
    let (cluster, _, _sender) = cluster(&case.fake, case.map.clone());
    let expected = case.expected();
    let (found, warnings) = read(&cluster, request(case.range)).await.unwrap();
    let has = |id: &u128, ts: &i64| found.get(id).is_some_and(|samples| samples.contains(ts));
    let lacking: Vec<_> = expected.into_iter().filter(|(_, id, ts)| !has(id, ts)).collect();
    case.check_named(&lacking, &warnings);
    let written = case.written();
    for (id, samples) in &found {
        assert!(samples.iter().all(|ts| written.contains(&(*id, *ts))), "seed {}: nothing is made up", case.seed);
    }
    if trouble == Trouble::Mild {
        assert_eq!(warnings, Vec::<String>::new(), "seed {}", case.seed);
    }
    assert_eq!(case.fake.live.load(Ordering::SeqCst), 0, "seed {}: nothing goes on", case.seed);
    warnings.len()
}

async fn check_labels(case: &Case, trouble: Trouble) -> usize {
    let (cluster, _, _sender) = cluster(&case.fake, case.map.clone());
    let expected = case.expected();
    let query = LabelQuery { tenant: TenantId::anonymous(), range: case.range, matcher_sets: vec![] };
    let answer = cluster.label_values("n", query).await.unwrap();
    assert!(answer.values.is_sorted_by(|a, b| a < b));
    let values: BTreeSet<String> = answer.values.into_iter().collect();
    let lacking: Vec<_> = expected.into_iter().filter(|(_, id, _)| !values.contains(&id.to_string())).collect();
    case.check_named(&lacking, &answer.warnings);
    if trouble == Trouble::Mild {
        assert_eq!(answer.warnings, Vec::<String>::new(), "seed {}", case.seed);
    }
    assert_eq!(case.fake.live.load(Ordering::SeqCst), 0, "seed {}: nothing goes on", case.seed);
    answer.warnings.len()
}

#[tokio::test(start_paused = true)]
async fn with_one_of_each_in_trouble_answers_are_complete() {
    for seed in 0..600 {
        check_select(&Case::new(seed, Trouble::Mild), Trouble::Mild).await;
        check_labels(&Case::new(seed, Trouble::Mild), Trouble::Mild).await;
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_is_missing_is_named() {
    let mut incomplete = 0;
    for seed in 0..800 {
        let warnings = check_select(&Case::new(seed, Trouble::Wild), Trouble::Wild).await;
        incomplete += usize::from(warnings > 0);
        check_labels(&Case::new(seed, Trouble::Wild), Trouble::Wild).await;
    }
    // Neither all nor none: both ways were taken.
    assert!((100..700).contains(&incomplete), "{incomplete} of 800");
}

/// One group, two stores, nothing wrong; `spoil` changes that.
fn plain(spoil: impl FnOnce(&mut World)) -> Fake {
    let mut world = World::new(1, 1, 2);
    world.write(40, 10);
    spoil(&mut world);
    fake(world)
}

fn fault(world: &mut World, number: usize, fault: Fault) {
    world.groups.get_mut(&GroupId(0)).unwrap().members.get_mut(&replica(0, number)).unwrap().fault = fault;
}

fn asked(fake: &Fake, what: &str) -> usize {
    fake.world.lock().asked.iter().filter(|(call, _)| call.starts_with(what)).map(|(_, count)| count).sum()
}

const RECENT: TimeRange = TimeRange { mint: TimestampMs(NOW - 2 * HOUR), maxt: TimestampMs(NOW) };

#[tokio::test(start_paused = true)]
async fn a_quorum_is_asked_and_the_third_only_when_one_is_slow_or_fails() {
    for (number, trouble, expected) in [
        (None, Fault::None, (2, 0)),
        (Some(0), Fault::Slow(2_000), (3, 1)),
        (Some(0), Fault::Refuses, (3, 1)),
        (Some(0), Fault::NeverAnswers, (3, 1)),
        // Nobody is asked in the place of one that is not asked.
        (Some(2), Fault::NeverAnswers, (2, 0)),
    ] {
        let fake = plain(|world| number.into_iter().for_each(|n| fault(world, n, trouble)));
        let map = fake.world.lock().map();
        let (cluster, metrics, _sender) = cluster(&fake, map);
        let (_, warnings) = read(&cluster, request(RECENT)).await.unwrap();
        assert_eq!(warnings, Vec::<String>::new());
        assert_eq!((asked(&fake, "select g0"), metrics.hedged.get()), expected, "{number:?} {trouble:?}");
        assert_eq!(asked(&fake, "index"), 0, "blocks are not looked for where all is still written");
    }
}

#[tokio::test(start_paused = true)]
async fn a_replica_in_trouble_is_asked_last_for_a_while() {
    let fake = plain(|world| fault(world, 0, Fault::NeverAnswers));
    let map = fake.world.lock().map();
    let (cluster, metrics, _sender) = cluster(&fake, map);
    fake.world.lock().groups.get_mut(&GroupId(0)).unwrap().members.get_mut(&replica(0, 0)).unwrap().fault =
        Fault::Refuses;
    for _ in 0..9 {
        read(&cluster, request(RECENT)).await.unwrap();
    }
    assert_eq!(metrics.hedged.get(), 1, "the first question found out");
}

#[tokio::test(start_paused = true)]
async fn dropping_an_answer_stops_all_that_was_asked() {
    let fake = plain(|world| {
        (0..3).for_each(|number| fault(world, number, Fault::Silent(1)));
        world.close(GroupId(0));
    });
    let map = fake.world.lock().map();
    let (cluster, _, _sender) = cluster(&fake, map);
    // Before any reply; with streams begun; between batches.
    for patience in [1, 6, 40, 400] {
        let mut selection = cluster.select(request(span(BASE, NOW)));
        let read = async { while selection.next().await.is_some() {} };
        assert!(tokio::time::timeout(Duration::from_millis(patience), read).await.is_err(), "{patience}");
        assert!(fake.live.load(Ordering::SeqCst) > 0, "{patience}");
        drop(selection);
        assert_eq!(fake.live.load(Ordering::SeqCst), 0, "{patience}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_quorum_the_group_is_named_and_what_one_replica_has_is_given() {
    let fake = plain(|world| (0..2).for_each(|number| fault(world, number, Fault::Refuses)));
    let map = fake.world.lock().map();
    let (cluster, _, _sender) = cluster(&fake, map);
    let (found, warnings) = read(&cluster, request(RECENT)).await.unwrap();
    let told = format!(
        "group 0: samples between {} and {NOW} (ms) may be missing: no quorum of its replicas answered",
        NOW - 2 * HOUR
    );
    assert_eq!(warnings, [told]);
    assert!(!found.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_map_that_is_not_known_is_said() {
    let fake = plain(|_| {});
    let (cluster, _, _sender) = cluster(&fake, Arc::default());
    let (_, warnings) = read(&cluster, request(RECENT)).await.unwrap();
    assert!(warnings[0].ends_with("the cluster map is not known yet"), "{warnings:?}");
}

#[tokio::test(start_paused = true)]
async fn too_many_series_fail_the_query() {
    let fake = plain(|_| {});
    let map = fake.world.lock().map();
    let (cluster, _, _sender) = cluster(&fake, map);
    let few = SelectRequest { series_max: 3, ..request(span(BASE, NOW)) };
    assert!(matches!(read(&cluster, few).await, Err(SelectError::TooManySeries { limit: 3 })));
}

#[tokio::test(start_paused = true)]
async fn without_stores_recent_samples_are_complete_and_older_ones_are_not() {
    let fake = plain(|world| {
        world.close(GroupId(0));
        let members = world.groups.get_mut(&GroupId(0)).unwrap().members.values_mut();
        members.for_each(|member| member.dropped = 1);
        world.stores.clear();
    });
    let map = fake.world.lock().map();
    let (cluster, _, _sender) = cluster(&fake, map);
    assert_eq!(read(&cluster, request(RECENT)).await.unwrap().1, Vec::<String>::new());
    let (_, warnings) = read(&cluster, request(span(BASE, NOW))).await.unwrap();
    let named: Vec<_> = warnings.iter().map(|warning| parse(warning)).collect();
    let dropped = (Some(GroupId(0)), TimeRange::new(start_of(0), start_of(1)));
    assert_eq!(named, [(None, span(BASE, NOW - 3 * HOUR)), dropped]);
}

#[tokio::test(start_paused = true)]
async fn exemplars_and_metadata_are_what_anybody_has() {
    let mut world = World::new(1, 2, 0);
    fault(&mut world, 1, Fault::NeverAnswers);
    fault(&mut world, 2, Fault::Refuses);
    let fake = fake(world);
    let map = fake.world.lock().map();
    let (cluster, _, _sender) = cluster(&fake, map);
    let exemplars = cluster.exemplars(TenantId::anonymous(), RECENT, vec![]).await;
    let counts: Vec<_> = exemplars.iter().map(|e| (e.labels.get("group").unwrap(), e.exemplars.len())).collect();
    assert_eq!(counts, [("g0", 2), ("g1", 4)]);
    let families: Vec<String> = cluster.metadata(TenantId::anonymous()).await.into_keys().collect();
    assert_eq!(families, ["g0", "g1"]);
    assert_eq!(fake.live.load(Ordering::SeqCst), 0);
}
