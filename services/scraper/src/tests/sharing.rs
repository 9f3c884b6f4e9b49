//! Several scrapers over real sockets, each with a storage of its own and with the map that the test gives it.
//!
//! What is claimed is claimed of ticks that were written, not of times that passed. A machine that stands still longer than a quarter
//! of an interval loses ticks whoever holds the targets; a run in which it did, and which failed, says nothing and is repeated.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cluster::{ClusterMap, NodeState};
use model::TimestampMs;
use parking_lot::Mutex;
use peer::ScrapingNode;
use targets::{Question, TargetsSnapshot, Wanted, read};
use tokio::sync::watch;

use super::plant::{Plant, node};
use super::support::{Reply, Rig, Site};
use crate::{Limits, Scraper, Sharing};

const INTERVAL_MS: i64 = 1000;
/// So many that each of three scrapers has some, wherever the hashes of their ports lie.
const TARGETS: usize = 60;
/// A machine that stands still so long disturbs a test.
const STALL: Duration = Duration::from_millis(250);
const RUNS_MAX: usize = 60;
const PATIENCE: Duration = Duration::from_secs(60);

/// The longest time for which neither a thread nor a task of the test came to its turn.
struct Stalls {
    longest_ms: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<()>,
}

impl Stalls {
    fn watch() -> Stalls {
        let (longest_ms, is_over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let note = |longest: &AtomicU64, since: Instant| {
            longest.fetch_max(u64::try_from(since.elapsed().as_millis()).unwrap(), Ordering::SeqCst);
        };
        let (longest, over) = (longest_ms.clone(), is_over.clone());
        drop(std::thread::spawn(move || {
            while !over.load(Ordering::SeqCst) {
                let before = Instant::now();
                std::thread::sleep(Duration::from_millis(5));
                note(&longest, before);
            }
        }));
        let longest = longest_ms.clone();
        let task = tokio::spawn(async move {
            loop {
                let before = Instant::now();
                tokio::time::sleep(Duration::from_millis(5)).await;
                note(&longest, before);
            }
        });
        Stalls { longest_ms, is_over, task }
    }

    fn longest(self) -> Duration {
        self.is_over.store(true, Ordering::SeqCst);
        self.task.abort();
        Duration::from_millis(self.longest_ms.load(Ordering::SeqCst))
    }
}

type Outcome = Result<(), String>;

/// Runs a scenario until it ends well, or fails on a machine that did not stand still.
async fn undisturbed<F: Future<Output = Outcome>>(scenario: impl Fn() -> F) {
    for _ in 0..RUNS_MAX {
        let stalls = Stalls::watch();
        let Err(why) = scenario().await else { return };
        let longest = stalls.longest();
        assert!(longest >= STALL, "{why} (the longest stall was {longest:?})");
    }
    panic!("the machine stood still in each of {RUNS_MAX} runs");
}

fn claim(holds: bool, what: impl FnOnce() -> String) -> Outcome {
    if holds { Ok(()) } else { Err(what()) }
}

/// Waits until `condition` holds.
async fn until(what: &str, mut condition: impl FnMut() -> bool) -> Outcome {
    let begin = Instant::now();
    while !condition() {
        claim(begin.elapsed() < PATIENCE, || format!("in vain: {what}"))?;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

/// A scraper, and the end of its stream of maps.
struct Node {
    name: String,
    rig: Rig,
    map: watch::Sender<Arc<ClusterMap>>,
}

struct Cluster {
    plant: Plant,
    site: Site,
    /// Scrapes by path.
    scrapes: Arc<Mutex<BTreeMap<String, usize>>>,
    nodes: Vec<Node>,
}

impl Cluster {
    /// Scrapers with one configuration, of which each has all targets.
    async fn start(names: &[&str]) -> Cluster {
        let scrapes: Arc<Mutex<BTreeMap<String, usize>>> = Arc::default();
        let counted = scrapes.clone();
        let site = Site::start(move |request| {
            *counted.lock().entry(request.target.clone()).or_default() += 1;
            Reply::text("a 1\n")
        })
        .await;
        let mut cluster = Cluster { plant: Plant::of(names), site, scrapes, nodes: Vec::new() };
        for name in names {
            cluster.add(name).await;
        }
        cluster
    }

    fn yaml(&self, targets: usize) -> String {
        let mut yaml = format!(
            "scrape_configs:\n- job_name: j\n  scrape_interval: {INTERVAL_MS}ms\n  scrape_timeout: {INTERVAL_MS}ms\n  static_configs:\n"
        );
        for n in 0..targets {
            let address = &self.site.address;
            yaml += &format!("  - {{targets: ['{address}'], labels: {{n: '{n}', __metrics_path__: /{n}}}}}\n");
        }
        yaml
    }

    /// A process that knows what is to be scraped; the map may not name it yet.
    async fn add(&mut self, name: &str) {
        let map = watch::channel(Arc::new(self.plant.map().clone())).0;
        let limits = Limits { propagation: Duration::from_millis(500), ..Limits::default() };
        let sharing = Sharing { me: node(name), map: map.subscribe() };
        let rig = Rig::with(|writer, outside, metrics| {
            Scraper::of_cluster(writer, outside, limits, metrics, sharing).unwrap()
        });
        rig.apply(&self.yaml(TARGETS)).await;
        rig.scraper.discovered().await;
        self.nodes.push(Node { name: name.to_owned(), rig, map });
    }

    /// Tells the map to all, but for those that are cut off.
    fn publish(&self, but: &[&str]) {
        for node in self.nodes.iter().filter(|node| !but.contains(&node.name.as_str())) {
            node.map.send_replace(Arc::new(self.plant.map().clone()));
        }
    }

    fn node(&self, name: &str) -> &Node {
        self.nodes.iter().find(|node| node.name == name).unwrap()
    }

    /// The targets that a scraper holds.
    fn held(&self, name: &str) -> BTreeSet<usize> {
        let pools = self.node(name).rig.scraper.snapshot();
        pools.iter().flat_map(|pool| &pool.active).map(|t| t.labels.get("n").unwrap().parse().unwrap()).collect()
    }

    /// All ticks of a target, whoever wrote them.
    fn ticks(&self, target: usize) -> BTreeSet<i64> {
        self.nodes.iter().flat_map(|node| node.ticks(target)).collect()
    }

    async fn until_each_has(&self, what: &str, names: &[&str], count: usize) -> Outcome {
        let held: Vec<(&Node, BTreeSet<usize>)> = names.iter().map(|n| (self.node(n), self.held(n))).collect();
        let begun: Vec<Vec<usize>> =
            held.iter().map(|(node, targets)| targets.iter().map(|n| node.ticks(*n).len()).collect()).collect();
        until(what, || {
            held.iter().zip(&begun).all(|((node, targets), begun)| {
                targets.iter().zip(begun).all(|(n, begun)| node.ticks(*n).len() >= begun + count)
            })
        })
        .await
    }

    /// No tick is missing, none is doubled, and nothing was ended.
    fn claim_no_gap(&self) -> Outcome {
        for target in 0..TARGETS {
            let ticks: Vec<i64> = self.ticks(target).into_iter().collect();
            let is_whole = ticks.len() > 2 && ticks.windows(2).all(|w| w[1] - w[0] == INTERVAL_MS);
            claim(is_whole, || format!("target {target}: {:?}", self.by_node(target)))?;
        }
        let ended = self.nodes.iter().find(|node| node.rig.twin.values(&[]).contains(&None));
        claim(ended.is_none(), || format!("{} has ended a series", ended.unwrap().name))
    }

    fn by_node(&self, target: usize) -> Vec<(&str, Vec<i64>)> {
        self.nodes.iter().map(|node| (node.name.as_str(), node.ticks(target))).collect()
    }

    async fn stop(&self) {
        for node in &self.nodes {
            node.rig.scraper.stop().await;
        }
    }
}

impl Node {
    fn ticks(&self, target: usize) -> Vec<i64> {
        let n = target.to_string();
        self.rig.twin.series(&[("__name__", "up"), ("n", &n)]).into_iter().map(|(at, _)| at).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_target_is_scraped_by_exactly_one() {
    undisturbed(|| async {
        let names = ["s0", "s1", "s2"];
        let cluster = Cluster::start(&names).await;
        cluster.until_each_has("three ticks of each", &names, 3).await?;
        let held: Vec<BTreeSet<usize>> = names.iter().map(|name| cluster.held(name)).collect();
        cluster.stop().await;
        let all: BTreeSet<usize> = held.iter().flatten().copied().collect();
        assert_eq!((all.len(), held.iter().map(BTreeSet::len).sum::<usize>()), (TARGETS, TARGETS), "{held:?}");
        assert!(held.iter().all(|held| !held.is_empty()), "{held:?}");
        for (name, held) in names.iter().zip(&held) {
            let node = cluster.node(name);
            assert!((0..TARGETS).all(|n| held.contains(&n) != node.ticks(n).is_empty()), "{name} {held:?}");
        }
        let scrapes = cluster.scrapes.lock().clone();
        for n in 0..TARGETS {
            let (scraped, written) = (scrapes[&format!("/{n}")], cluster.ticks(n).len());
            claim(scraped == written, || format!("{scraped} scrapes of {n}, {written} written"))?;
        }
        cluster.claim_no_gap()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_targets_of_one_that_died_are_scraped_elsewhere_within_an_interval_of_the_map() {
    undisturbed(|| async {
        let mut cluster = Cluster::start(&["s0", "s1", "s2"]).await;
        cluster.until_each_has("two ticks of each", &["s0", "s1", "s2"], 2).await?;
        let orphans = cluster.held("s1");
        let before = [cluster.held("s0"), cluster.held("s2")];
        // As by kill -9: nothing is finished.
        let dead = cluster.nodes.remove(1);
        let twin = dead.rig.twin.clone();
        drop(dead);
        cluster.plant.set("s1", NodeState::Down);
        let known = server::clock::now();
        cluster.publish(&[]);
        until("its targets are held", || cluster.held("s0").union(&cluster.held("s2")).count() == TARGETS).await?;
        let written = twin.0.lock().samples.len();
        cluster.until_each_has("three more ticks of each", &["s0", "s2"], 3).await?;
        claim(twin.0.lock().samples.len() == written, || "the dead one writes".to_owned())?;
        for (name, before) in ["s0", "s2"].iter().zip(&before) {
            assert!(cluster.held(name).is_superset(before), "a target of another moved");
        }
        for n in orphans {
            let ticks = cluster.ticks(n);
            let first = TimestampMs(*ticks.first().unwrap());
            let late = (first - known).0;
            claim(late <= INTERVAL_MS + 250, || format!("target {n} was taken over after {late} ms"))?;
        }
        cluster.stop().await;
        cluster.claim_no_gap()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_graceful_stop_and_a_join_miss_no_tick_and_end_no_series() {
    undisturbed(|| async {
        let mut cluster = Cluster::start(&["s0", "s1", "s2"]).await;
        cluster.until_each_has("two ticks of each", &["s0", "s1", "s2"], 2).await?;
        let given = cluster.held("s2");
        cluster.plant.set("s2", NodeState::Left);
        // The one that leaves begins; the others learn of it when it has already begun to give its targets away.
        let leaving = &cluster.node("s2").rig;
        let leave = async {
            leaving.scraper.leave().await;
            leaving.twin.0.lock().samples.len()
        };
        let others = async {
            until("it has begun", || leaving.scraper.snapshot()[0].active.is_empty()).await?;
            cluster.publish(&[]);
            until("all are held", || cluster.held("s0").union(&cluster.held("s1")).count() == TARGETS).await
        };
        let (samples, done) = tokio::join!(leave, others);
        done?;
        cluster.until_each_has("three more ticks of each", &["s0", "s1"], 3).await?;
        let later = cluster.node("s2").rig.twin.0.lock().samples.len();
        claim(later == samples, || "one that left writes".to_owned())?;
        let overlaps = given.iter().filter(|n| {
            let of_the_old = cluster.node("s2").ticks(**n);
            ["s0", "s1"].iter().any(|name| cluster.node(name).ticks(**n).iter().any(|t| of_the_old.contains(t)))
        });
        claim(overlaps.count() > 0, || "nobody went on while others began".to_owned())?;
        cluster.claim_no_gap()?;

        cluster.add("s3").await;
        assert!(cluster.held("s3").is_empty(), "it has not joined yet");
        let before = [cluster.held("s0"), cluster.held("s1")];
        cluster.plant.join("s3");
        // The new one learns of it last.
        cluster.publish(&["s3"]);
        until("they give", || cluster.held("s0").len() + cluster.held("s1").len() < TARGETS).await?;
        cluster.publish(&[]);
        until("it holds its share", || !cluster.held("s3").is_empty()).await?;
        let taken = cluster.held("s3");
        let live = ["s0", "s1", "s3"];
        until("all are held once", || live.iter().map(|name| cluster.held(name).len()).sum::<usize>() == TARGETS)
            .await?;
        for (name, before) in ["s0", "s1"].iter().zip(&before) {
            assert!(cluster.held(name).is_subset(before), "a target moved between those that stayed");
        }
        cluster.until_each_has("four ticks of each", &live, 4).await?;
        // Whoever gave them away has long ceased.
        for n in taken {
            let of_the_new = *cluster.node("s3").ticks(n).last().unwrap();
            for name in ["s0", "s1"] {
                let last = cluster.node(name).ticks(n).last().copied().unwrap_or(0);
                claim(last < of_the_new, || format!("{name} still scrapes {n}"))?;
            }
        }
        cluster.stop().await;
        cluster.claim_no_gap()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_is_cut_off_goes_on_and_writes_the_same_timestamps() {
    undisturbed(|| async {
        let mut cluster = Cluster::start(&["s0", "s1"]).await;
        cluster.until_each_has("a tick of each", &["s0", "s1"], 1).await?;
        let contested = cluster.held("s1");
        cluster.plant.set("s1", NodeState::Down);
        cluster.publish(&["s1"]);
        until("the other holds all", || cluster.held("s0").len() == TARGETS).await?;
        cluster.until_each_has("four more ticks of each", &["s0", "s1"], 4).await?;
        assert_eq!(cluster.held("s1"), contested, "it cannot know");
        for n in &contested {
            let [a, b] = ["s0", "s1"].map(|name| cluster.node(name).ticks(*n).into_iter().collect::<BTreeSet<i64>>());
            let common = a.intersection(&b).count();
            claim(common >= 3, || format!("{common} ticks in common: {a:?} {b:?}"))?;
        }
        cluster.claim_no_gap()?;
        // It hears of it, gives its targets away, and takes them back: at once, and when it has long ceased.
        for ticks_between in [0, 3] {
            cluster.publish(&[]);
            until("it holds nothing", || cluster.held("s1").is_empty()).await?;
            cluster.until_each_has("ticks of the other", &["s0"], ticks_between).await?;
            cluster.plant.join("s1");
            cluster.publish(&[]);
            until("it holds its share", || cluster.held("s1") == contested).await?;
            cluster.until_each_has("three more ticks of each", &["s0", "s1"], 3).await?;
            cluster.plant.set("s1", NodeState::Down);
        }
        cluster.stop().await;
        cluster.claim_no_gap()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_vanished_is_ended_by_who_held_it_and_one_that_moved_by_nobody() {
    undisturbed(|| async {
        let cluster = Cluster::start(&["s0", "s1"]).await;
        cluster.until_each_has("two ticks of each", &["s0", "s1"], 2).await?;
        let gone = TARGETS - 1;
        let (holder, other) = if cluster.held("s0").contains(&gone) { ("s0", "s1") } else { ("s1", "s0") };
        // Another timeout is another target, which may be another's, with the same series.
        let yaml = cluster.yaml(gone).replace("scrape_timeout: 1000ms", "scrape_timeout: 999ms");
        let before = cluster.held("s0");
        for node in &cluster.nodes {
            node.rig.apply(&yaml).await;
        }
        let moved = before.symmetric_difference(&cluster.held("s0")).filter(|n| **n != gone).count();
        assert!(moved > 0, "some change hands by their new hashes");
        let n = gone.to_string();
        for name in ["a", "up"] {
            let series = [("__name__", name), ("n", n.as_str())];
            until("its end", || cluster.node(holder).rig.twin.values(&series).last() == Some(&None)).await?;
            assert!(cluster.node(other).rig.twin.values(&series).is_empty());
        }
        cluster.until_each_has("three more ticks of each", &["s0", "s1"], 3).await?;
        cluster.stop().await;
        for node in &cluster.nodes {
            for target in 0..gone {
                let values = node.rig.twin.values(&[("n", &target.to_string())]);
                assert!(!values.contains(&None), "{} ended series of {target}, which moved", node.name);
            }
        }
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_scrapers_tell_adds_up_to_all_targets() {
    let mut cluster = Cluster::start(&["s0", "s1", "s2"]).await;
    let yaml = cluster.yaml(TARGETS).replace(
        "  static_configs:",
        "  target_limit: 5\n  relabel_configs: [{source_labels: [n], regex: '[0-9]|[1-4][0-9]|5[0-3]', action: drop}]\n  static_configs:",
    );
    for node in &cluster.nodes {
        node.rig.apply(&yaml).await;
    }
    let ask = async |cluster: &Cluster, question: &Question| {
        let mut answers = Vec::new();
        for node in &cluster.nodes {
            answers.push((
                node.name.clone(),
                node.rig.scraper.ask(question.path().to_owned(), question.query()).await.unwrap(),
            ));
        }
        answers
    };
    let answers = ask(&cluster, &Question::Targets(Wanted::all())).await;
    let parts = answers.iter().map(|(name, text)| (name.clone(), read::targets(text).unwrap()));
    let all = TargetsSnapshot::united(parts);
    let named: BTreeSet<&str> = all.active.iter().map(|t| t.labels.get("n").unwrap()).collect();
    assert_eq!((all.active.len(), named.len()), (6, 6));
    assert!(
        all.active.iter().all(|t| cluster
            .held(t.scraper.as_deref().unwrap())
            .contains(&t.labels.get("n").unwrap().parse().unwrap()))
    );
    let dropped: BTreeSet<&str> = all.dropped.iter().map(|t| t.discovered_labels.get("n").unwrap()).collect();
    assert_eq!((all.dropped.len(), dropped.len(), all.dropped_counts["j"]), (54, 54, 54));
    // The limit is that of the job, however few one scraper has of it.
    let error = "target_limit exceeded (number of targets: 6, limit: 5)";
    super::support::until("scrapes that are refused", || {
        cluster.nodes.iter().flat_map(|node| node.rig.pool().active).all(|t| t.last_error == error)
    })
    .await;
    let pools = ask(&cluster, &Question::ScrapePools).await;
    assert!(pools.iter().all(|(_, text)| read::scrape_pools(text).unwrap() == ["j"]));
    let rules = ask(&cluster, &Question::RelabelRules("j".to_owned())).await;
    assert!(rules.iter().all(|(_, text)| read::relabel_rules(text).unwrap()[0].regex() == "[0-9]|[1-4][0-9]|5[0-3]"));
    let unknown =
        cluster.nodes.remove(0).rig.scraper.ask("targets/relabel_steps".to_owned(), "scrapePool=x".to_owned());
    let refused = read::relabel_rules(&unknown.await.unwrap()).unwrap_err();
    assert_eq!(refused.to_string(), "scrape pool \"x\" not found");
}
