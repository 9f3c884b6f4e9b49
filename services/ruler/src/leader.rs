//! What the leader does unasked: it begets the cluster, counts silences, forms groups and places partitions.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cluster::{
    Beat, ClusterId, ClusterMap, Command, JoinRefusal, Joining, LeaseTimes, Leases, Outcome, Refusal, Replica,
    next_growth,
};
use parking_lot::Mutex;
use raft::{Node, Peer, ProposeError};
use tokio::sync::watch;

/// The leader looks around this often, and when the map changes.
const TICK: Duration = Duration::from_millis(500);
/// Time for a majority to confirm who leads.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(3);
/// Time for a command to be committed; one that is late may be committed all the same.
const PROPOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// Commands proposed in one look around; the rest follows at the next.
const COMMANDS_MAX: usize = 64;

/// What a cluster is born with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Newborn {
    pub(crate) partition_count: u32,
    pub(crate) replication_factor: u8,
    pub(crate) bootstrap_ingesters: u32,
}

/// Why a request has to go elsewhere, or come again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotNow {
    /// Another leads, or nobody.
    #[error("this ruler does not lead the control plane")]
    Elsewhere(Option<Peer>),
    /// It cannot be decided now.
    #[error("{0}")]
    Later(String),
    /// It is against the rules.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Heartbeats speak against it.
    #[error(transparent)]
    Join(#[from] JoinRefusal),
}

impl From<ProposeError> for NotNow {
    fn from(error: ProposeError) -> NotNow {
        match error {
            ProposeError::NotLeader { leader } | ProposeError::Unknown { leader } => NotNow::Elsewhere(leader),
            e @ (ProposeError::NoMajority | ProposeError::TooLarge { .. } | ProposeError::Stopped(_)) => {
                NotNow::Later(e.to_string())
            }
        }
    }
}

/// A ruler's part in deciding: all of it only while it leads.
pub(crate) struct Leader {
    node: Arc<Node>,
    times: LeaseTimes,
    newborn: Newborn,
    began: Instant,
    /// The term for which leases were granted, and they. Guards small sums; never held over an await.
    leases: Mutex<Option<(u64, Leases)>>,
}

impl Leader {
    pub(crate) fn new(node: Arc<Node>, times: LeaseTimes, newborn: Newborn) -> Leader {
        Leader { node, times, newborn, began: Instant::now(), leases: Mutex::default() }
    }

    pub(crate) fn times(&self) -> LeaseTimes {
        self.times
    }

    fn map(&self) -> Arc<ClusterMap> {
        self.node.map().borrow().clone()
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Looks around until told to stop.
    pub(crate) async fn run(&self, mut stop: watch::Receiver<bool>) {
        let mut map = self.node.map();
        loop {
            if let Err(why) = self.look_around().await {
                tracing::debug!(%why, "the control plane cannot decide now");
            }
            tokio::select! {
                // Cancel-safe because only time, the map and the stop signal are waited for.
                () = tokio::time::sleep(TICK) => {}
                Ok(()) = map.changed() => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
        }
    }

    async fn look_around(&self) -> Result<(), NotNow> {
        if !self.node.metrics().is_leader {
            *self.leases.lock() = None;
            return Ok(());
        }
        self.confirm().await?;
        if let Err(error) = self.node.settle_voters().await {
            tracing::debug!(%error, "a change of voters is not settled yet");
        }
        if self.map().cluster().is_none() {
            let Newborn { partition_count, replication_factor, bootstrap_ingesters } = self.newborn;
            let cluster = ClusterId(rand::random());
            self.propose(Command::Birth { cluster, partition_count, replication_factor, bootstrap_ingesters }).await?;
        }
        for command in self.due() {
            self.propose(command).await?;
        }
        for _ in 0..COMMANDS_MAX {
            let Some(command) = next_growth(&self.map()) else { break };
            self.propose(command).await?;
        }
        Ok(())
    }

    /// Changes of state that silences bring about.
    fn due(&self) -> Vec<Command> {
        let (map, now) = (self.map(), self.now());
        let mut leases = self.leases.lock();
        let mut due = leases.as_mut().map(|(_, leases)| leases.due(&map, now)).unwrap_or_default();
        due.truncate(COMMANDS_MAX);
        due
    }

    /// A majority says that this node leads, and it has applied all that was committed; leases are granted if it has come to
    /// lead since.
    pub(crate) async fn confirm(&self) -> Result<(), NotNow> {
        self.node.confirm_leadership(CONFIRM_TIMEOUT).await?;
        let metrics = self.node.metrics();
        if !metrics.is_leader {
            return Err(NotNow::Elsewhere(metrics.leader));
        }
        let (map, now) = (self.map(), self.now());
        let mut leases = self.leases.lock();
        if leases.as_ref().is_none_or(|(term, _)| *term != metrics.term) {
            tracing::info!(term = metrics.term, "leading the control plane; all leases are granted afresh");
            *leases = Some((metrics.term, Leases::granted_afresh(&map, self.times, now)));
        }
        Ok(())
    }

    /// Has a command committed; the map holds its effect then.
    pub(crate) async fn propose(&self, command: Command) -> Result<(), NotNow> {
        let said = command.to_string();
        // Cancel-safe because a command that was proposed is judged by the state machine whenever it is committed.
        let proposed = tokio::time::timeout(PROPOSE_TIMEOUT, self.node.propose(command)).await;
        match proposed.map_err(|_| NotNow::Later("no majority has taken the command in time".into()))?? {
            Outcome::Changed(_) => tracing::info!(command = said, "committed"),
            Outcome::Unchanged => {}
            Outcome::Refused(Refusal::NotBorn) => return Err(NotNow::Later(Refusal::NotBorn.to_string())),
            Outcome::Refused(refusal) => return Err(refusal.into()),
        }
        Ok(())
    }

    /// A node asks to join.
    pub(crate) async fn join(&self, joining: &Joining) -> Result<(), NotNow> {
        self.confirm().await?;
        {
            let (map, now) = (self.map(), self.now());
            let leases = self.leases.lock();
            let Some((_, leases)) = leases.as_ref() else { return Err(NotNow::Elsewhere(None)) };
            leases.check_join(&map, joining, now)?;
        }
        self.propose(joining.command()).await?;
        if let Some((_, leases)) = self.leases.lock().as_mut() {
            leases.joined(joining, self.now());
        }
        Ok(())
    }

    /// A node says that it lives.
    pub(crate) fn hear(&self, node: &Replica, address: &cluster::Address) -> Result<Beat, NotNow> {
        let metrics = self.node.metrics();
        // A leader that no majority hears is none; its heartbeats would be lost on the next one.
        if !metrics.is_leader || self.node.map_age().is_none_or(|age| age >= self.times.lease) {
            return Err(NotNow::Elsewhere(metrics.leader.filter(|_| !metrics.is_leader)));
        }
        let (map, now) = (self.map(), self.now());
        match self.leases.lock().as_mut() {
            Some((term, leases)) if *term == metrics.term => {
                Ok(leases.hear(&map, &node.node, node.incarnation, address, now))
            }
            _ => Err(NotNow::Later("this ruler has only just come to lead".into())),
        }
    }
}
