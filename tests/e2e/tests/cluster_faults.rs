//! A cluster in which something is wrong: what it refuses, what it says of it, and what it keeps all the same.

use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use e2e::cluster::{Cluster, PATIENCE};
use e2e::write::Series;
use e2e::{now_ms, wait};

/// Bytes of log before it is damaged: many records, and of many writes.
const LOG_BYTES: u64 = 32 << 10;
const SERIES: i64 = 50;

/// So many series of this name, each with one sample of a minute ago.
fn series(name: &str) -> Vec<Series> {
    let at_ms = now_ms() - 60_000;
    let one = |n: i64| Series { samples: vec![(at_ms, n as f64)], ..Series::new(name, &[("n", &n.to_string())]) };
    (0..SERIES).map(one).collect()
}

/// Waits until a querier gives all of them, without a warning.
fn until_there(cluster: &Cluster, querier: &str, name: &str) -> Result<()> {
    let expected = (SERIES * (SERIES - 1) / 2) as f64;
    cluster.until_number(querier, &format!("sum(sum_over_time({name}[1h]))"), expected)
}

/// A cluster that keeps each sample so often, with a ruler, a querier and as many ingesters, each in a zone of its own.
fn cluster_of_factor(folder: &std::path::Path, factor: usize) -> Result<Cluster> {
    let mut cluster = Cluster::new(folder, 1)?;
    cluster.flag("ruler-1", format!("--cluster.replication-factor={factor}"));
    cluster.flag("ruler-1", format!("--cluster.bootstrap-ingesters={factor}"));
    for n in 1..=factor {
        cluster.add("ingester", &format!("z{n}"))?;
    }
    cluster.add("querier", "z1")?;
    Ok(cluster)
}

/// The first segment of an ingester's log.
fn segment(cluster: &Cluster, ingester: &str) -> Result<PathBuf> {
    let folder = cluster.data(ingester).join("log");
    let files = std::fs::read_dir(&folder).with_context(|| format!("list {}", folder.display()))?;
    let mut files = files.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    files.sort();
    files.into_iter().next().context("there is no log")
}

/// Another byte in the middle of the log, long before its end.
fn damage(cluster: &Cluster, ingester: &str) -> Result<()> {
    let path = segment(cluster, ingester)?;
    let file = std::fs::File::options().read(true).write(true).open(&path).context("open a log")?;
    let (middle, mut bytes) = (file.metadata()?.len() / 2, [0; 16]);
    file.read_exact_at(&mut bytes, middle)?;
    file.write_all_at(&bytes.map(|byte| !byte), middle)?;
    Ok(())
}

#[test]
fn a_damaged_ingester_comes_back_as_another_that_does_not_count_and_the_group_says_that_it_is_short() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut cluster = cluster_of_factor(folder.path(), 3)?;
    cluster.start_all()?;
    cluster.write("querier-1", &series("before"))?;
    // Every write goes to all three, or is pulled: the third has many of them in the end.
    wait::until_ok("the third ingester has a log", PATIENCE, || {
        cluster.write("querier-1", &series("more"))?;
        let bytes = segment(&cluster, "ingester-3")?.metadata()?.len();
        ensure!(bytes >= LOG_BYTES, "{bytes} bytes of log");
        Ok(())
    })?;
    cluster.kill("ingester-3")?;
    damage(&cluster, "ingester-3")?;

    // It puts its data aside and ends; whoever starts it again has another ingester.
    cluster.launch("ingester-3")?;
    cluster.until_ended("ingester-3")?;
    cluster.until_logged("ingester-3", &["the data directory is damaged and was put aside"])?;
    cluster.launch("ingester-3")?;
    for name in ["ruler-1", "querier-1", "ingester-1"] {
        let page = cluster.until_says(name, "came back with another directory")?;
        ensure!(page.contains("group 0 is short: ingester-3/"), "{page}");
        cluster.until_metric(name, "narthex_cluster_shortcomings", 1.0)?;
        cluster.until_logged(name, &["the cluster is short", "came back with another directory"])?;
    }
    cluster.until_says("ingester-3", "this ingester is a member of no group")?;
    let map = cluster.data_of("ruler-1", "/api/v1/status/cluster")?;
    let member = map["groups"][0]["members"].as_array().context("members")?.iter().find(|m| m["node"] == "ingester-3");
    let node = map["nodes"].as_array().context("nodes")?.iter().find(|node| node["name"] == "ingester-3");
    let (member, node) = (member.context("the member of before")?, node.context("the node")?);
    ensure!(member["incarnation"] != node["incarnation"], "{map}");

    // The two others take writes and give complete answers.
    cluster.write("querier-1", &series("between"))?;
    for name in ["before", "between"] {
        until_there(&cluster, "querier-1", name)?;
    }

    // It does not count: with one of the two gone there is one replica, which promises nothing. The refusal comes in bounded
    // time (the client waits two minutes), and so does the answer, which says what it lacks.
    cluster.kill("ingester-2")?;
    for _ in 0..2 {
        let status = cluster.push("querier-1", &series("refused"))?;
        ensure!(status == 503, "a write that one replica has: status {status}");
    }
    let answer = cluster.query("querier-1", "before")?;
    ensure!(answer.annotations.iter().any(|text| text.contains("group 0")), "{answer:?}");

    cluster.start("ingester-2")?;
    cluster.write("querier-1", &series("after"))?;
    for name in ["before", "between", "after"] {
        until_there(&cluster, "querier-1", name)?;
    }
    Ok(())
}

/// A node that is refused ends by itself, and both sides have said why.
fn check_refused(cluster: &mut Cluster, name: &str, on_record: &str, reason: &str) -> Result<()> {
    let code = cluster.until_ended(name)?;
    ensure!(code == Some(1), "{name} ended with {code:?}");
    cluster.until_logged(name, &["the cluster refuses this node", reason])?;
    cluster.until_logged("ruler-1", &[on_record, reason])
}

#[test]
fn a_wrong_cluster_name_and_a_wrong_zone_are_refused_with_the_reason_on_both_sides() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut cluster = cluster_of_factor(folder.path(), 1)?;
    cluster.start_all()?;
    let stranger = cluster.add("distributor", "z1")?;
    // The last one counts.
    cluster.flags = Vec::new();
    cluster.flag(&stranger, "--cluster.name=another".to_owned());
    cluster.launch(&stranger)?;
    cluster.flags = vec!["--cluster.name=c".to_owned()];
    // Its data would be counted in a zone in which it does not lie.
    cluster.stop("ingester-1")?;
    cluster.move_to("ingester-1", "z9");
    cluster.launch("ingester-1")?;
    let reason = cluster.until_ended(&stranger)?;
    ensure!(reason == Some(1), "{stranger} ended with {reason:?}");
    cluster.until_logged(&stranger, &["the cluster refuses this node", r#"this is cluster "c", not "another""#])?;
    cluster.until_logged("ruler-1", &["a node of another cluster was refused", "another"])?;
    check_refused(&mut cluster, "ingester-1", "a node was refused", "is in zone z1, not z9")?;
    // Where it belongs it is welcome.
    cluster.move_to("ingester-1", "z1");
    cluster.start("ingester-1")?;
    cluster.write("querier-1", &series("again"))?;
    until_there(&cluster, "querier-1", "again")
}

#[test]
fn of_two_nodes_of_one_name_one_is_refused_with_the_reason_on_both_sides() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut cluster = cluster_of_factor(folder.path(), 1)?;
    cluster.start_all()?;
    let twin = cluster.add("querier", "z1")?;
    cluster.rename(&twin, "querier-1");
    cluster.launch(&twin)?;
    // As a rule it is the second. On a machine that stood still for longer than a lease it may be the first.
    let refused = wait::until("one of the two ends", PATIENCE, || {
        Ok(["querier-1", &twin].into_iter().find(|name| cluster.has_ended(name)).map(str::to_owned))
    })?;
    check_refused(&mut cluster, &refused, "a node was refused", "node id querier-1 is in use by the node at 127.0.0.1:")
}

#[test]
fn factors_one_and_two_say_what_they_promise_on_the_page_in_metrics_and_in_the_log() -> Result<()> {
    for (factor, promise) in [
        (1, "replication factor 1: an acknowledged write survives kill -9 and power loss, not the loss of a disk"),
        (
            2,
            "replication factor 2: an acknowledged write survives the loss of one ingester; a group takes writes only while \
             both its replicas live",
        ),
    ] {
        let folder = tempfile::tempdir()?;
        let mut cluster = cluster_of_factor(folder.path(), factor)?;
        cluster.start_all()?;
        for name in ["ruler-1", "ingester-1", "querier-1"] {
            cluster.until_says(name, promise)?;
            cluster.until_metric(name, "narthex_cluster_replication_factor", factor as f64)?;
            cluster.until_logged(name, &["the cluster's promise", promise])?;
        }
        cluster.write("querier-1", &series("before"))?;
        let last = format!("ingester-{factor}");
        cluster.kill(&last)?;
        let status = cluster.push("querier-1", &series("refused"))?;
        ensure!(status == 503, "factor {factor}: a write that not all have: status {status}");
        if factor == 2 {
            until_there(&cluster, "querier-1", "before").context("one of two replicas has all")?;
        }
        cluster.start(&last)?;
        cluster.write("querier-1", &series("after"))?;
        for name in ["before", "after"] {
            until_there(&cluster, "querier-1", name)?;
        }
    }
    Ok(())
}

#[test]
fn with_fewer_zones_than_replicas_a_cluster_starts_says_so_and_takes_nothing_until_there_are_enough() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut cluster = cluster_of_factor(folder.path(), 3)?;
    let third = "ingester-3";
    cluster.move_to(third, "z2");
    let distributor = cluster.add("distributor", "z1")?;
    cluster.launch_all()?;
    let short = "ingesters are up in 2 zones, but replication factor 3 needs as many zones";
    for name in ["ruler-1", "querier-1", "ingester-1", &distributor] {
        cluster.until_says(name, short)?;
        cluster.until_says(name, "64 partitions have no owner, so writes to them are refused")?;
        cluster.until_logged(name, &["the cluster is short", short])?;
    }
    for name in ["ruler-1", "querier-1", "ingester-1", third] {
        cluster.until_ready(name)?;
    }
    let ready = cluster.get(&distributor, "/-/ready")?;
    ensure!(ready.status == 503, "a distributor that can write nothing: {}", ready.excerpt());
    for name in ["querier-1", &distributor] {
        let status = cluster.push(name, &series("refused"))?;
        ensure!(status == 503, "{name}: a write to nobody: status {status}");
    }

    let fourth = cluster.add("ingester", "z3")?;
    cluster.start(&fourth)?;
    for name in ["ruler-1", "querier-1", &distributor] {
        cluster.until_not_said(name, short)?;
    }
    cluster.until_ready(&distributor)?;
    cluster.write(&distributor, &series("kept"))?;
    until_there(&cluster, "querier-1", "kept")
}
