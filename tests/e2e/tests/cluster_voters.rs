//! Voters by hand: an operator adds a ruler to the control plane, takes one away, and a ruler with a wiped disk comes back.

use std::collections::BTreeMap;
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use e2e::cluster::{Cluster, PATIENCE};
use e2e::narthex::binary;
use e2e::wait;

/// `narthex admin` by way of these rulers.
fn admin(cluster: &Cluster, by: &[&str], words: &[&str]) -> Result<Output> {
    let addresses: Vec<&str> = by.iter().map(|name| cluster.grpc(name)).collect();
    let mut command = Command::new(binary()?);
    command.arg("admin").args(words).arg("--cluster.name=c").arg("--timeout=4m");
    command.arg(format!("--cluster.control-plane={}", addresses.join(",")));
    command.output().context("run narthex admin")
}

/// What it printed: ids by name, and who leads.
fn printed(output: &Output) -> Result<(BTreeMap<String, String>, Option<String>)> {
    ensure!(output.status.success(), "{output:?}");
    let (mut ids, mut leader) = (BTreeMap::new(), None);
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let words: Vec<&str> = line.split(' ').collect();
        ensure!(matches!(words[..], [_, _, _] | [_, _, _, "leader"]), "{line}");
        let another = ids.insert(words[1].to_owned(), words[0].to_owned());
        ensure!(another.is_none(), "two voters of one name: {output:?}");
        leader = leader.or((words.len() == 4).then(|| words[1].to_owned()));
    }
    Ok((ids, leader))
}

fn check(output: &Output, expected: &[&str]) -> Result<BTreeMap<String, String>> {
    let (ids, leader) = printed(output)?;
    ensure!(ids.keys().eq(expected), "{ids:?}, not {expected:?}");
    ensure!(leader.is_some(), "nobody leads: {output:?}");
    Ok(ids)
}

fn check_refused(output: &Output, reason: &str) -> Result<()> {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.code() == Some(1) && said.contains(reason), "{output:?}, not {reason:?}");
    Ok(())
}

/// A node that joins is in the map of this ruler: the control plane decides.
fn decides(cluster: &mut Cluster, ruler: &str) -> Result<()> {
    let node = cluster.add("distributor", "z1")?;
    cluster.launch(&node)?;
    wait::until_ok(&format!("{node} is in the map of {ruler}"), PATIENCE, || {
        let map = cluster.data_of(ruler, "/api/v1/status/cluster")?;
        let nodes = map["nodes"].as_array().context("nodes")?;
        ensure!(nodes.iter().any(|one| one["name"] == node.as_str()), "{map}");
        Ok(())
    })
}

#[test]
fn an_operator_adds_and_removes_voters_and_a_wiped_ruler_comes_back_as_a_new_one() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut cluster = Cluster::new(folder.path(), 3)?;
    cluster.start_all()?;
    let first = check(&admin(&cluster, &["ruler-1"], &["voters"])?, &["ruler-1", "ruler-2", "ruler-3"])?;
    let born = cluster.data_of("ruler-1", "/api/v1/status/cluster")?["cluster"].clone();

    // A ruler that nobody listed waits for an operator's word.
    let fourth = cluster.add("ruler", "z1")?;
    cluster.launch(&fourth)?;
    cluster.until_says(&fourth, "is not listed in --cluster.control-plane")?;
    let address = cluster.grpc(&fourth).to_owned();
    let all = ["ruler-1", "ruler-2", "ruler-3", "ruler-4"];
    check(&admin(&cluster, &["ruler-2"], &["add-voter", &address])?, &all)?;
    cluster.until_ready(&fourth)?;
    // Once more changes nothing.
    check(&admin(&cluster, &["ruler-2"], &["add-voter", &address])?, &all)?;
    decides(&mut cluster, &fourth)?;

    // One of the first goes: its node is stopped then, and the others go on.
    check_refused(&admin(&cluster, &["ruler-2"], &["remove-voter", "ruler-9"])?, "there is no voter ruler-9")?;
    let rest = ["ruler-2", "ruler-3", "ruler-4"];
    check(&admin(&cluster, &["ruler-2", "ruler-3"], &["remove-voter", "ruler-1"])?, &rest)?;
    cluster.kill("ruler-1")?;
    let kept = check(&admin(&cluster, &["ruler-2", "ruler-3"], &["voters"])?, &rest)?;
    decides(&mut cluster, &fourth)?;

    // A disk is lost: the ruler has forgotten its votes, so it comes back as another voter, by itself.
    cluster.kill("ruler-2")?;
    std::fs::remove_dir_all(cluster.data("ruler-2"))?;
    // Meanwhile none of the two that live may go.
    let refused = admin(&cluster, &["ruler-3", "ruler-4"], &["remove-voter", "ruler-3"])?;
    check_refused(&refused, "without a majority the control plane would stand still")?;
    cluster.start("ruler-2")?;
    let anew = check(&admin(&cluster, &["ruler-3", "ruler-4"], &["voters"])?, &rest)?;
    ensure!(anew["ruler-2"] != first["ruler-2"], "the wiped ruler votes as before: {anew:?}");
    ensure!(anew["ruler-3"] == first["ruler-3"] && anew["ruler-4"] == kept["ruler-4"], "{anew:?}");
    decides(&mut cluster, "ruler-2")?;
    for name in rest {
        let map = cluster.data_of(name, "/api/v1/status/cluster")?;
        ensure!(map["cluster"] == born, "{name}: {map}");
    }
    Ok(())
}
