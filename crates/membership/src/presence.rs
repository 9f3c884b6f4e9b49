//! A node's presence in the cluster: it joins, and tells again and again that it lives.

use std::time::Duration;

use bytes::Bytes;
use cluster::{Command, Joining, Replica};
use proto::v1::{HeartbeatRequest, LeaveRequest, ReportRequest};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::caller::{CallError, Caller};
use crate::wire::{self, Named};

/// Three heartbeats fit in a lease, so that one may be lost.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(3);
/// Between attempts to join, and after a heartbeat that failed.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// Time for one call; the next attempt comes anyway.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// Who a node is.
#[derive(Clone, Debug)]
pub struct Identity {
    /// `--cluster.name`.
    pub cluster: String,
    /// The node, what it does and where.
    pub joining: Joining,
}

impl Identity {
    fn named(&self) -> Named {
        let Joining { node, incarnation, address, .. } = self.joining.clone();
        Named { replica: Replica { node, incarnation }, address }
    }
}

/// How a node stands with the control plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It has not been heard yet, or not since it was told to join again.
    Joining,
    /// It is on record.
    Joined,
    /// It is refused, and says why until it is not.
    Refused(String),
    /// It was on record, but no ruler answers. It goes on with the map that it has.
    Unheard,
}

/// The way by which a node reports what only it can know. Clones are alike.
#[derive(Clone)]
pub struct Reporter {
    identity: Identity,
    caller: Caller,
}

impl Reporter {
    /// For this node, whether it has joined yet or not.
    pub fn new(identity: Identity, caller: Caller) -> Reporter {
        Reporter { identity, caller }
    }

    /// Reports; see `ControlPlane.Report`.
    pub async fn report(&self, command: &Command) -> Result<(), CallError> {
        let request = ReportRequest {
            cluster: self.identity.cluster.clone(),
            node: Some(wire::node(&self.identity.named())),
            command: Some(proto::seal(Bytes::from(command.encode()))),
        };
        self.caller
            .call(|mut client| {
                let request = request.clone();
                async move { client.report(request).await }
            })
            .await?;
        Ok(())
    }
}

/// A node that is, or tries to be, in the cluster. Dropped, it falls silent.
pub struct Presence {
    reporter: Reporter,
    standing: watch::Receiver<Standing>,
    task: JoinHandle<()>,
}

impl Presence {
    /// Begins to join, and goes on until dropped.
    pub fn start(identity: Identity, caller: Caller) -> Presence {
        let (say, standing) = watch::channel(Standing::Joining);
        let task = tokio::spawn(live(identity.clone(), caller.clone(), say));
        Presence { reporter: Reporter::new(identity, caller), standing, task }
    }

    /// How the node stands, and word of each change.
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.clone()
    }

    /// Reports what only this node can know; see `ControlPlane.Report`.
    pub async fn report(&self, command: &Command) -> Result<(), CallError> {
        self.reporter.report(command).await
    }

    /// Goes away on purpose: the control plane need not wait for the lease. Gives up after `timeout`.
    pub async fn leave(self, timeout: Duration) -> Result<(), CallError> {
        self.task.abort();
        let Identity { cluster, .. } = self.reporter.identity.clone();
        let request = LeaveRequest { cluster, node: Some(wire::node(&self.reporter.identity.named())) };
        let left = self.reporter.caller.call(|mut client| {
            let request = request.clone();
            async move { client.leave(request).await }
        });
        // Cancel-safe because a node that was not heard to leave is found silent.
        match tokio::time::timeout(timeout, left).await {
            Ok(left) => left.map(|_| ()),
            Err(_) => Err(CallError::Unavailable(None)),
        }
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn live(identity: Identity, caller: Caller, say: watch::Sender<Standing>) {
    loop {
        join(&identity, &caller, &say).await;
        heartbeat(&identity, &caller, &say).await;
        say.send_replace(Standing::Joining);
    }
}

/// Returns once the node is on record.
async fn join(identity: &Identity, caller: &Caller, say: &watch::Sender<Standing>) {
    let request = wire::join_request(&identity.cluster, &identity.joining);
    loop {
        let asked = caller.call(|mut client| {
            let request = request.clone();
            async move { client.join(request).await }
        });
        // Cancel-safe because joining twice is joining once.
        match tokio::time::timeout(CALL_TIMEOUT, asked).await {
            Ok(Ok(reply)) => {
                tracing::info!(node = %identity.joining.node, map_version = reply.map_version, "joined the cluster");
                say.send_replace(Standing::Joined);
                return;
            }
            Ok(Err(CallError::Refused(status))) => {
                let refused = Standing::Refused(status.message().to_owned());
                if *say.borrow() != refused {
                    tracing::error!(node = %identity.joining.node, reason = status.message(), "the cluster refuses this node");
                }
                say.send_replace(refused);
            }
            Ok(Err(CallError::Unavailable(error))) => {
                tracing::debug!(error = error.map(|e| e.to_string()), "no ruler took the request to join");
            }
            Err(_) => tracing::debug!("no ruler answered the request to join in time"),
        }
        tokio::time::sleep(RETRY_INTERVAL).await;
    }
}

/// Returns when the node has to join again.
async fn heartbeat(identity: &Identity, caller: &Caller, say: &watch::Sender<Standing>) {
    let (cluster, node) = (identity.cluster.clone(), wire::node(&identity.named()));
    loop {
        let pause = if *say.borrow() == Standing::Joined { HEARTBEAT_INTERVAL } else { RETRY_INTERVAL };
        tokio::time::sleep(pause).await;
        let map_version = caller.map_version();
        let request = HeartbeatRequest { cluster: cluster.clone(), node: Some(node.clone()), map_version };
        let asked = caller.call(|mut client| {
            let request = request.clone();
            async move { client.heartbeat(request).await }
        });
        // Cancel-safe because a heartbeat that was not answered is followed by another.
        let standing = match tokio::time::timeout(CALL_TIMEOUT, asked).await {
            Ok(Ok(reply)) if reply.join => {
                tracing::info!(node = %identity.joining.node, "the control plane asks this node to join again");
                return;
            }
            Ok(Ok(_)) => Standing::Joined,
            Ok(Err(CallError::Refused(status))) => Standing::Refused(status.message().to_owned()),
            Ok(Err(CallError::Unavailable(_))) | Err(_) => Standing::Unheard,
        };
        let before = say.send_replace(standing.clone());
        if before != standing {
            match &standing {
                Standing::Refused(reason) => {
                    tracing::error!(node = %identity.joining.node, reason, "the cluster refuses this node's heartbeat");
                }
                Standing::Unheard => tracing::warn!("no ruler answers; going on with the cluster map as it is"),
                Standing::Joined => tracing::info!("the control plane answers again"),
                Standing::Joining => {}
            }
        }
    }
}
