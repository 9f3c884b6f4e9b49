//! Pulling: what makes this replica hold what its peers hold (rule *Pull*), about once a second from each.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use batch::Batch;
use cluster::Replica as ReplicaId;
use model::TimestampMs;
use parking_lot::Mutex;
use peer::{Answer, Fetch, Member, Members, Unanswered};
use replication::Record;
use replication::puller::{Bodies, PullRequest, Puller, Step};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tracing::{debug, warn};

use crate::Ingester;
use crate::bodies::to_define;
use crate::ingester::{no_answer, stopped};

/// Bounds of pulling.
#[derive(Clone, Copy, Debug)]
pub struct PullLimits {
    /// How often each peer is asked what is new.
    pub interval: Duration,
    /// How long after its list is judged what is missing: pushes that are under way arrive meanwhile.
    pub patience: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
    /// Rounds in a row with one peer before others get their turn to be looked at, while it has more.
    pub rounds_max: u32,
}

impl Default for PullLimits {
    fn default() -> PullLimits {
        PullLimits {
            interval: Duration::from_secs(1),
            patience: Duration::from_millis(300),
            timeout: Duration::from_secs(10),
            rounds_max: 64,
        }
    }
}

/// What is known of pulling from a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerStatus {
    /// Positions of its log that are not durably held here, by its last list; `None` before that.
    pub behind: Option<u64>,
    /// When a pull last came to its end, by this replica's clock.
    pub pulled: Option<TimestampMs>,
    /// Why the last one did not.
    pub failure: Option<String>,
}

/// What pulling has found out; shared with who shows it.
#[derive(Default)]
pub(crate) struct Pulls {
    peers: Mutex<BTreeMap<ReplicaId, (Option<TimestampMs>, Option<String>)>>,
    /// Somebody wants to be up to date sooner.
    soon: Notify,
}

/// Why a pull came to nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum PullError {
    #[error("it is not known where it answers")]
    Nowhere,
    #[error("no answer: {0}")]
    Unanswered(#[from] Unanswered),
    #[error("no answer in time")]
    Timeout,
    #[error("it has truncated its log, and replicas do not give each other snapshots yet")]
    Truncated,
    #[error("the log does not work: {0}")]
    Log(String),
    #[error("it does not have the batches and definitions that it has listed")]
    Incomplete,
}

impl Ingester {
    /// Pulls from all peers until stopped.
    pub async fn pull_loop(
        self: Arc<Ingester>,
        members: Arc<dyn Members>,
        limits: PullLimits,
        mut stop: watch::Receiver<bool>,
    ) {
        let mut running: BTreeMap<ReplicaId, tokio::task::Id> = BTreeMap::new();
        let mut tasks: JoinSet<()> = JoinSet::new();
        loop {
            while let Some(done) = tasks.try_join_next_with_id() {
                let id = done.map_or_else(|e| e.id(), |(id, ())| id);
                running.retain(|_, task| *task != id);
            }
            let peers = Puller::peers(&self.shared.lock().core);
            self.pulls.peers.lock().retain(|peer, _| peers.contains(peer));
            for peer in peers {
                if running.contains_key(&peer) {
                    continue;
                }
                let (this, members, of) = (self.clone(), members.clone(), peer.clone());
                let task = tasks.spawn(async move { this.pull_from(&*members, &of, limits).await });
                running.insert(peer, task.id());
            }
            tokio::select! {
                // Cancel-safe because time, a wish and the stop signal are awaited and nothing is taken.
                () = tokio::time::sleep(limits.interval) => {}
                () = self.pulls.soon.notified() => {}
                () = stopped(&mut stop) => return,
            }
        }
    }

    /// Has pulls begin now.
    pub(crate) fn pull_soon(&self) {
        self.pulls.soon.notify_one();
    }

    /// How far this replica is behind its peers.
    pub(crate) fn peers(&self) -> BTreeMap<ReplicaId, PeerStatus> {
        let told = self.pulls.peers.lock().clone();
        let group = self.shared.lock();
        let status = |peer: ReplicaId| {
            let (pulled, failure) = told.get(&peer).cloned().unwrap_or_default();
            let behind = group.puller.behind(&group.core, &peer);
            (peer, PeerStatus { behind, pulled, failure })
        };
        Puller::peers(&group.core).into_iter().map(status).collect()
    }

    /// Pulls until there is nothing more, or something does not work.
    async fn pull_from(self: &Arc<Ingester>, members: &dyn Members, peer: &ReplicaId, limits: PullLimits) {
        let mut result = Ok(true);
        for round in 0..limits.rounds_max {
            // What was too much for one round is no push that is under way.
            let patience = if round == 0 { limits.patience } else { Duration::ZERO };
            let limits = PullLimits { patience, ..limits };
            result = self.pull_round(members, peer, limits).await;
            if result != Ok(false) {
                break;
            }
        }
        let mut peers = self.pulls.peers.lock();
        let (pulled, failure) = peers.entry(peer.clone()).or_default();
        match result {
            Ok(_) => {
                *pulled = Some((self.clock)());
                *failure = None;
            }
            Err(e) => {
                let e = e.to_string();
                if failure.as_ref() != Some(&e) {
                    warn!(replica = %peer, error = e, "pull failed");
                }
                *failure = Some(e);
            }
        }
    }

    /// One list and what is missing of it, as much as fits into an answer. Whether there was nothing more.
    async fn pull_round(
        self: &Arc<Ingester>,
        members: &dyn Members,
        peer: &ReplicaId,
        limits: PullLimits,
    ) -> Result<bool, PullError> {
        let member = members.member(peer).ok_or(PullError::Nowhere)?;
        let (id, request, entry) = {
            let mut group = self.shared.lock();
            let group = &mut *group;
            let (id, request) = group.puller.start(&group.core, peer);
            (id, request, group.core.durable().entry.clone())
        };
        let PullRequest::List { from } = request else { return Err(PullError::Incomplete) };
        let listed = within(limits.timeout, member.list(self.replica.clone(), entry, from)).await;
        let reply = listed.inspect_err(|_| self.failed(peer, id))?;
        tokio::time::sleep(limits.patience).await;
        let mut step = self.carry_on(|puller, core| puller.listed(core, peer, id, reply));
        while let Some((id, request)) = step {
            step = self.asked(&member, peer, id, request, limits).await.inspect_err(|_| self.failed(peer, id))?;
        }
        self.settled().await?;
        let group = self.shared.lock();
        Ok(group.puller.behind(&group.core, peer).is_none_or(|behind| behind == 0))
    }

    async fn asked(
        self: &Arc<Ingester>,
        member: &Arc<dyn Member>,
        peer: &ReplicaId,
        id: u64,
        request: PullRequest,
        limits: PullLimits,
    ) -> Result<Option<(u64, PullRequest)>, PullError> {
        let (positions, define) = match request {
            PullRequest::Fetch { positions, define } => (positions, define),
            PullRequest::Snapshot => return Err(PullError::Truncated),
            PullRequest::List { .. } => return Err(PullError::Incomplete),
        };
        let is_second = !define.is_empty();
        debug!(replica = %peer, positions = positions.len(), define = define.len(), "fetching");
        let fetch = Fetch { group: self.group, positions, define: to_define(define) };
        let Some(fetched) = within(limits.timeout, member.fetch(fetch)).await? else {
            return Err(PullError::Incomplete);
        };
        let share = |batches: Vec<Batch>| batches.into_iter().map(Arc::new).collect::<Vec<_>>();
        let bodies = Bodies { batches: share(fetched.batches), definitions: share(fetched.definitions) };
        let (bodies, unknown) = self.unknown(bodies).await?;
        if is_second && !unknown.is_empty() && bodies.definitions.is_empty() {
            return Err(PullError::Incomplete);
        }
        Ok(self.carry_on(|puller, core| puller.fetched(core, peer, id, Some(bodies), unknown)))
    }

    /// The series of what was fetched that have no definition, leaving out samples that are not kept.
    async fn unknown(
        &self,
        bodies: Bodies<Arc<Batch>>,
    ) -> Result<(Bodies<Arc<Batch>>, Vec<model::SeriesId>), PullError> {
        let state = self.shared.lock().core.appended_state().clone();
        let head = self.head().clone();
        let look = move || {
            let all = bodies.definitions.iter().chain(&bodies.batches).map(|batch| &**batch);
            let unknown = head.unknown(all, &|at| !state.discards(at)).into_iter().collect();
            (bodies, unknown)
        };
        tokio::task::spawn_blocking(look).await.map_err(|e| PullError::Log(e.to_string()))
    }

    /// Takes a step of the puller; logs what comes of it, and returns what is to be asked next.
    fn carry_on(
        &self,
        step: impl FnOnce(&mut Puller, &mut crate::group::Core) -> Step<Arc<Batch>>,
    ) -> Option<(u64, PullRequest)> {
        let mut group = self.shared.lock();
        let group = &mut *group;
        let step = step(&mut group.puller, &mut group.core);
        debug_assert!(step.effects.append.iter().all(|(_, record)| !matches!(record, Record::Merged(_))));
        group.log(step.effects);
        self.shared.wake.notify_one();
        step.request
    }

    async fn settled(&self) -> Result<(), PullError> {
        let settled = self.shared.lock().settled();
        self.shared.wake.notify_one();
        settled.await.map(drop).map_err(|_| PullError::Log(no_answer(&self.shared).0))
    }

    fn failed(&self, peer: &ReplicaId, id: u64) {
        self.shared.lock().puller.failed(peer, id);
    }
}

async fn within<T>(timeout: Duration, answer: Answer<T>) -> Result<T, PullError> {
    Ok(tokio::time::timeout(timeout, answer).await.map_err(|_| PullError::Timeout)??)
}
