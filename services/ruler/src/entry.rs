//! How a ruler comes into the Raft group: it begins it with the others, or is admitted.

use std::sync::Arc;
use std::time::Duration;

use membership::{CallError, Caller};
use proto::Dialer;
use proto::v1::AdmitVoterRequest;
use raft::{Birth, Node};
use tokio::sync::watch;

/// Between attempts.
const PAUSE: Duration = Duration::from_millis(500);

/// Where a ruler stands on its way into the group; the words are for `/-/ready`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// It belongs to the group.
    Member,
    /// It waits, and why.
    Waiting(String),
}

pub(crate) struct Enter {
    pub(crate) cluster: String,
    pub(crate) node: Arc<Node>,
    pub(crate) dialer: Dialer,
    pub(crate) caller: Caller,
    pub(crate) listed: Vec<String>,
}

impl Enter {
    /// Tries until this ruler is a member, and then until the group knows where it answers.
    pub(crate) async fn run(self, say: watch::Sender<Entry>) {
        loop {
            match self.attempt().await {
                Ok(()) => break,
                Err(waits) => {
                    let waiting = Entry::Waiting(waits);
                    let before = say.send_replace(waiting.clone());
                    if before != waiting
                        && let Entry::Waiting(reason) = waiting
                    {
                        tracing::info!(reason, "not a voter of the control plane yet");
                    }
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
        say.send_replace(Entry::Member);
        while self.moved() {
            if let Err(reason) = self.admit().await {
                tracing::debug!(reason, "the group does not know the new address yet");
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// `Err` says what it waits for.
    async fn attempt(&self) -> Result<(), String> {
        match self.node.try_begin(&self.cluster, &self.dialer, &self.listed).await {
            Ok(Birth::Began) => {
                tracing::info!(voters = ?self.listed, "began the control plane");
                Ok(())
            }
            Ok(Birth::Member) => Ok(()),
            Ok(Birth::Admission) => self.admit().await.and_then(|()| Err("admitted; waiting for the log".into())),
            Ok(Birth::Another(id)) => Err(format!("waiting for ruler {id} to begin the control plane")),
            Ok(Birth::Unknown { address, reason, refused: false }) => {
                Err(format!("waiting for the ruler at {address}: {reason}"))
            }
            Ok(Birth::Unknown { address, reason, refused: true }) => {
                let reason = format!("the ruler at {address} refuses: {reason}");
                tracing::error!(reason, "the control plane cannot begin");
                Err(reason)
            }
            Ok(Birth::Misnamed(why)) => Err(format!("--cluster.control-plane is wrong: {why}")),
            Err(error) => Err(error.to_string()),
        }
    }

    async fn admit(&self) -> Result<(), String> {
        let voter = Some(self.node.peer().into());
        let request = AdmitVoterRequest { cluster: self.cluster.clone(), voter, by_operator: false };
        let asked = self.caller.call(|mut client| {
            let request = request.clone();
            async move { client.admit_voter(request).await }
        });
        match asked.await {
            Ok(_) => Ok(()),
            Err(CallError::Refused(status)) => Err(format!("not admitted: {}", status.message())),
            Err(CallError::Unavailable(last)) => {
                let last = last.map(|status| status.message().to_owned()).unwrap_or_default();
                Err(format!("waiting to be admitted as a voter: {last}"))
            }
        }
    }

    /// Whether the group has another address for this voter.
    fn moved(&self) -> bool {
        let own = self.node.peer();
        self.node.metrics().voters.iter().any(|voter| voter.id == own.id && voter.address != own.address)
    }
}
