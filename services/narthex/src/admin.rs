//! `narthex admin`: an operator's words to the control plane, over gRPC to its rulers.
//!
//! It looks before it leaps (a change that would leave the Raft group without a living majority is refused), and decides nothing
//! else: the leader does.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use membership::{CallError, Caller};
use proto::v1::control_plane_client::ControlPlaneClient;
use proto::v1::{AdmitVoterRequest, RemoveVoterRequest, StatusReply, StatusRequest, Voter};
use proto::{Dialer, SMALL_BYTES_MAX};
use raft::VoterId;
use tokio::sync::watch;

use crate::flags::duration;
use crate::{grpc_tls, node};

/// Time for one ruler to say how it fares.
const STATUS_TIMEOUT: Duration = Duration::from_secs(5);
/// Between attempts.
const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// Words of an operator.
#[derive(Args, Debug, Clone)]
pub(crate) struct Admin {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand, Debug, Clone)]
enum Task {
    /// Prints who votes in the control plane.
    Voters(Way),
    /// Makes a voter of the ruler that answers at an address.
    AddVoter(AddVoter),
    /// Takes the vote from a ruler, living or not.
    RemoveVoter(RemoveVoter),
}

/// How to reach the control plane.
#[derive(Args, Debug, Clone)]
struct Way {
    /// Addresses (gRPC) of rulers; one that lives is enough.
    #[arg(long = "cluster.control-plane", value_name = "HOST:PORT,…", value_delimiter = ',', required = true)]
    control_plane: Vec<String>,
    /// The cluster's name.
    #[arg(long = "cluster.name", value_name = "NAME", default_value = "narthex")]
    cluster_name: String,
    /// TLS between nodes: the file that they have.
    #[arg(long = "grpc.config.file", value_name = "FILE")]
    grpc_config_file: Option<PathBuf>,
    /// How long the control plane may take.
    #[arg(long = "timeout", value_name = "DURATION", default_value = "1m", value_parser = duration)]
    timeout: Duration,
}

#[derive(Args, Debug, Clone)]
struct AddVoter {
    #[command(flatten)]
    way: Way,
    /// Where the ruler answers other nodes.
    #[arg(value_name = "HOST:PORT")]
    address: String,
}

#[derive(Args, Debug, Clone)]
struct RemoveVoter {
    #[command(flatten)]
    way: Way,
    /// The node's name, or the voter's id.
    #[arg(value_name = "NAME|ID")]
    voter: String,
    /// Also where most of the voters that stay do not answer: the control plane stands still then.
    #[arg(long)]
    force: bool,
}

/// Does what was asked, and prints the voters.
pub(crate) fn run(admin: Admin) -> anyhow::Result<()> {
    node::block_on(async move {
        match admin.task {
            Task::Voters(way) => print(&ControlPlane::reach(&way)?.status().await?),
            Task::AddVoter(add) => add.run().await,
            Task::RemoveVoter(remove) => remove.run().await,
        }
    })
}

impl AddVoter {
    async fn run(&self) -> anyhow::Result<()> {
        let plane = ControlPlane::reach(&self.way)?;
        let described = plane.describe(&self.address).await;
        let described = described.with_context(|| format!("ask the ruler at {}", self.address))?;
        let voter = described.voter.with_context(|| format!("{} is no ruler", self.address))?;
        let id = voter.id;
        let request = AdmitVoterRequest { cluster: plane.cluster.clone(), voter: Some(voter), by_operator: true };
        let began = Instant::now();
        loop {
            let asked = plane.caller.call(|mut client| {
                let request = request.clone();
                async move { client.admit_voter(request).await }
            });
            match asked.await {
                Ok(_) => break,
                Err(refused @ CallError::Refused(_)) => return Err(refused.into()),
                Err(CallError::Unavailable(last)) => plane.pause(began, last).await?,
            }
        }
        plane.print_once(|voters| voters.iter().any(|voter| voter.id == id)).await
    }
}

impl RemoveVoter {
    async fn run(&self) -> anyhow::Result<()> {
        let plane = ControlPlane::reach(&self.way)?;
        let status = plane.status().await?;
        let id = find(&status.voters, &self.voter)?;
        let staying: Vec<&Voter> = status.voters.iter().filter(|voter| voter.id != id).collect();
        if !self.force {
            plane.check_majority(&staying).await?;
        }
        let request = RemoveVoterRequest { cluster: plane.cluster.clone(), id };
        let began = Instant::now();
        let is_gone = |voters: &[Voter]| voters.iter().all(|voter| voter.id != id);
        loop {
            let asked = plane.caller.call(|mut client| {
                let request = request.clone();
                async move { client.remove_voter(request).await }
            });
            match asked.await {
                Ok(_) => break,
                Err(refused @ CallError::Refused(_)) => return Err(refused.into()),
                // The answer to an attempt may have been lost, and its effect not; a leader that goes cannot tell.
                Err(CallError::Unavailable(last)) => {
                    if is_gone(&plane.status().await?.voters) {
                        break;
                    }
                    plane.pause(began, last).await?;
                }
            }
        }
        plane.print_once(is_gone).await
    }
}

/// The voter of this name or id.
fn find(voters: &[Voter], wanted: &str) -> anyhow::Result<u64> {
    let matches = |voter: &&Voter| voter.name == wanted || VoterId(voter.id).to_string() == wanted;
    let found: Vec<u64> = voters.iter().filter(matches).map(|voter| voter.id).collect();
    match found[..] {
        [one] => Ok(one),
        [] => bail!("there is no voter {wanted}; there are: {}", names(voters)),
        _ => bail!("{wanted} is not one voter but {}: give the id", found.len()),
    }
}

fn names(voters: &[Voter]) -> String {
    voters.iter().map(|voter| voter.name.as_str()).collect::<Vec<_>>().join(", ")
}

/// The rulers of a cluster.
struct ControlPlane {
    cluster: String,
    dialer: Dialer,
    caller: Caller,
    timeout: Duration,
    addresses: Vec<String>,
}

impl ControlPlane {
    fn reach(way: &Way) -> anyhow::Result<ControlPlane> {
        let tls = way.grpc_config_file.as_deref().map(grpc_tls::load).transpose()?;
        let dialer = Dialer::new(tls.map(|(_, client)| client));
        // No map is followed: the addresses given, and the leader that those name, are all there is.
        let (_, map) = watch::channel(Arc::default());
        let caller = Caller::new(dialer.clone(), &way.control_plane, map);
        let (cluster, addresses) = (way.cluster_name.clone(), way.control_plane.clone());
        Ok(ControlPlane { cluster, dialer, caller, timeout: way.timeout, addresses })
    }

    /// What one ruler says of itself and of the group.
    async fn describe(&self, address: &str) -> Result<StatusReply, tonic::Status> {
        let channel = self.dialer.dial(address, STATUS_TIMEOUT);
        let channel = channel.map_err(|e| tonic::Status::invalid_argument(e.to_string()))?;
        let mut client = ControlPlaneClient::new(channel).max_decoding_message_size(SMALL_BYTES_MAX);
        let reply = client.status(StatusRequest { cluster: self.cluster.clone() }).await?;
        Ok(reply.into_inner())
    }

    /// How the control plane fares by the word of the ruler that leads. Waits for one that does.
    async fn status(&self) -> anyhow::Result<StatusReply> {
        let began = Instant::now();
        loop {
            let mut last = None;
            let mut waiting: Vec<String> = self.addresses.iter().rev().cloned().collect();
            let mut asked = BTreeSet::new();
            while let Some(address) = waiting.pop() {
                if !asked.insert(address.clone()) {
                    continue;
                }
                match self.describe(&address).await {
                    Ok(status) => match (&status.voter, &status.leader) {
                        (Some(voter), Some(leader)) if voter.id == leader.id => return Ok(status),
                        (_, Some(leader)) => waiting.push(leader.address.clone()),
                        (_, None) => last = Some(tonic::Status::unavailable("no ruler leads the control plane")),
                    },
                    Err(status) if status.code() == tonic::Code::PermissionDenied => bail!("{}", status.message()),
                    Err(status) => last = Some(status),
                }
            }
            self.pause(began, last).await?;
        }
    }

    /// Prints the voters when the leader has them so.
    async fn print_once(&self, is_done: impl Fn(&[Voter]) -> bool) -> anyhow::Result<()> {
        let began = Instant::now();
        loop {
            let status = self.status().await?;
            if is_done(&status.voters) {
                return print(&status);
            }
            self.pause(began, None).await?;
        }
    }

    /// Between attempts; an error when there is no time for another.
    async fn pause(&self, began: Instant, last: Option<tonic::Status>) -> anyhow::Result<()> {
        if began.elapsed() >= self.timeout {
            let why = last.map_or_else(|| "nobody answered".to_owned(), |status| status.message().to_owned());
            bail!("the control plane did not do it within {:?}: {why}", self.timeout);
        }
        tokio::time::sleep(RETRY_PAUSE).await;
        Ok(())
    }

    /// Most of these answer, so that they can go on by themselves.
    async fn check_majority(&self, staying: &[&Voter]) -> anyhow::Result<()> {
        let mut silent = Vec::new();
        for voter in staying {
            if let Err(status) = self.describe(&voter.address).await {
                silent.push(format!("{} at {} ({})", voter.name, voter.address, status.message()));
            }
        }
        if (staying.len() - silent.len()) * 2 <= staying.len() {
            bail!(
                "of the {} voters that stay these do not answer: {}; without a majority the control plane would stand still. \
                 Start them first, or give --force",
                staying.len(),
                silent.join(", ")
            );
        }
        Ok(())
    }
}

/// A line for each voter: id, name, address, and whether it leads.
fn print(status: &StatusReply) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    let mut voters: Vec<&Voter> = status.voters.iter().collect();
    voters.sort_by(|a, b| (&a.name, a.id).cmp(&(&b.name, b.id)));
    for voter in voters {
        let leads = if status.leader.as_ref().is_some_and(|leader| leader.id == voter.id) { " leader" } else { "" };
        writeln!(out, "{} {} {}{leads}", VoterId(voter.id), voter.name, voter.address).context("print the voters")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_voter_is_found_by_its_name_or_its_id() {
        let voter = |id, name: &str| Voter { id, name: name.to_owned(), address: "a:1".to_owned() };
        let voters = [voter(1, "r-1"), voter(2, "r-2"), voter(3, "r-2")];
        assert_eq!(find(&voters, "r-1").unwrap(), 1);
        assert_eq!(find(&voters, "0000000000000003").unwrap(), 3);
        assert_eq!(find(&voters, "r-2").unwrap_err().to_string(), "r-2 is not one voter but 2: give the id");
        let error = find(&voters, "3").unwrap_err().to_string();
        assert_eq!(error, "there is no voter 3; there are: r-1, r-2, r-2");
    }
}
