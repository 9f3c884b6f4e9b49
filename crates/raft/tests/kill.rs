//! A process is killed with SIGKILL while it commits; what it was told to be committed is there afterwards.

#![expect(clippy::unwrap_used, reason = "all of it is a test")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command as Process, Stdio};
use std::sync::Arc;
use std::time::Duration;

use cluster::{Address, ClusterId, Command, Incarnation, NodeId, Outcome, Roles, Zone};
use raft::{Alone, Node, OpenError, Options};

/// Where the child finds its directory.
const DIR: &str = "NARTHEX_TEST_RAFT_DIR";

const PATIENCE: Duration = Duration::from_secs(30);

fn join(number: u64) -> Command {
    Command::Join {
        node: NodeId::new(&format!("n{}", number % 50)).unwrap(),
        roles: Roles::ALL,
        zone: Zone::new("z").unwrap(),
        address: Address::new("x:1").unwrap(),
        incarnation: Incarnation(number),
    }
}

async fn open(dir: &Path) -> Result<Node, OpenError> {
    let (name, address) = (NodeId::new("one").unwrap(), Address::new("one:1").unwrap());
    Node::open(Options { dir: dir.into(), name, address }, Arc::new(Alone)).await
}

/// The child: commits for ever and prints the number of each command that was acknowledged.
#[tokio::test]
#[ignore = "the child of the test below"]
async fn child() {
    #[expect(clippy::disallowed_methods, reason = "the parent has no other way to tell")]
    let dir = std::env::var(DIR).expect("set by the parent");
    let node = open(dir.as_ref()).await.unwrap();
    if !node.metrics().initialized {
        node.initialize_single().await.unwrap();
    }
    node.recovered(PATIENCE).await.unwrap();
    let birth =
        Command::Birth { cluster: ClusterId(1), partition_count: 16, replication_factor: 1, bootstrap_ingesters: 1 };
    node.propose(birth).await.unwrap();
    let first = node.map().borrow().nodes().map(|(_, n)| n.incarnation.0).max().unwrap_or(0) + 1;
    for number in first.. {
        assert!(matches!(node.propose(join(number)).await.unwrap(), Outcome::Changed(_)));
        writeln!(std::io::stdout(), "acked {number}").unwrap();
    }
}

fn spawn(dir: &Path) -> Child {
    Process::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--ignored", "--nocapture"])
        .env(DIR, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Runs a child on the directory until it has had `count` more commands acknowledged, and kills it. The last number.
fn run_and_kill(dir: &Path, count: usize) -> u64 {
    let mut child = spawn(dir);
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut acked = lines.filter_map(|line| line.split("acked ").nth(1).map(|n| n.parse::<u64>().unwrap()));
    let early = acked.by_ref().take(count).last().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    // What it printed before it died counts as well.
    acked.last().unwrap_or(early)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_was_acknowledged_survives_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let mut last = 0;
    let mut term = 0;
    for round in 0..4 {
        let acked = run_and_kill(dir.path(), 60 + 7 * round);
        assert!(acked > last, "round {round} goes on where the one before was killed");
        last = acked;
        let node = open(dir.path()).await.unwrap();
        // Before, the map may lag by what was committed last.
        node.recovered(PATIENCE).await.unwrap();
        let applied = node.map().borrow().nodes().map(|(_, n)| n.incarnation.0).max().unwrap();
        // The command after the last acknowledged one may have been committed when the process died.
        assert!(applied == last || applied == last + 1, "round {round}: acknowledged {last}, found {applied}");
        let expected: std::collections::BTreeSet<u64> = (applied.saturating_sub(49).max(1)..=applied).collect();
        let found = node.map().borrow().nodes().map(|(_, n)| n.incarnation.0).collect();
        assert_eq!(expected, found);
        assert!(node.metrics().term >= term);
        term = node.metrics().term;
        last = applied;
        node.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_directory_held_by_another_process_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = spawn(dir.path());
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("acked 1")));
    let error = open(dir.path()).await.err().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(error.to_string(), format!("raft directory {} is in use by another process", dir.path().display()));
    open(dir.path()).await.unwrap();
}
