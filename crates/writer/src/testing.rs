//! For tests of those who write: groups as the control plane makes them, and members that are functions.

use std::collections::BTreeMap;
use std::sync::Arc;

use batch::Batch;
use cluster::{
    Address, ClusterId, ClusterMap, Command, GroupId, Incarnation, NodeId, Outcome, Replica as ReplicaId, Role, Roles,
    State, Zone,
};
use futures::FutureExt;
use model::{Matcher, Metadata, PartitionId, TenantId, TimeRange, TimestampMs};
use peer::{Answer, Exemplars, Fetch, Fetched, LabelQuestion, Labelled, Member, Members, Selected, Unanswered};
use replication::replica::{ListReply, PushReply, SealReply};
use replication::{Entry, Position};
use storage::SelectRequest;
use tokio::sync::watch;

use crate::{Limits, Writer};

/// A control plane of nodes `n0`, `n1` and so on, `factor` of them a group, over all of which the partitions are spread in turns.
pub struct Plane {
    state: State,
    factor: u8,
}

impl Plane {
    /// So many groups and partitions. Nothing is placed yet.
    pub fn new(groups: u32, factor: u8, partition_count: u32) -> Plane {
        let mut plane = Plane { state: State::default(), factor };
        let bootstrap_ingesters = groups * u32::from(factor);
        let cluster = ClusterId(7);
        let replication_factor = factor;
        plane.decide(&Command::Birth { cluster, partition_count, replication_factor, bootstrap_ingesters });
        for group in 0..groups {
            let members = (0..u32::from(factor)).map(|i| plane.join(group * u32::from(factor) + i, i)).collect();
            plane.decide(&Command::CreateGroup { group: GroupId(group), members });
        }
        plane
    }

    /// Places all partitions.
    pub fn place(&mut self) {
        let groups = u32::try_from(self.state.map().groups().len()).expect("few");
        let owners = self.state.map().unplaced().map(|p: PartitionId| (p, GroupId(p.0 % groups))).collect();
        self.decide(&Command::PlacePartitions { owners });
    }

    /// A node that is an ingester comes.
    fn join(&mut self, number: u32, zone: u32) -> ReplicaId {
        let name = |text: String| NodeId::new(&text).expect("a name");
        let node = name(format!("n{number}"));
        let (zone, address) = (Zone::new(&format!("z{zone}")), Address::new("host:1"));
        let (zone, address) = (zone.expect("a zone"), address.expect("an address"));
        let (roles, incarnation) = (Roles::one(Role::Ingester), Incarnation(1));
        self.decide(&Command::Join { node: node.clone(), roles, zone, address, incarnation });
        ReplicaId { node, incarnation }
    }

    /// Exchanges the last member of a group for the new node of this number.
    pub fn replace_last(&mut self, group: GroupId, number: u32) {
        let joining = self.join(number, u32::from(self.factor) - 1);
        let newest = self.state.map().group(group).expect("it is there").newest().clone();
        let leaving = newest.members.last().expect("it has members").replica.clone();
        self.decide(&Command::ReplaceMember { group, seen: newest.number, leaving, joining });
    }

    /// The member that was unfilled is filled.
    pub fn fill_last(&mut self, group: GroupId) {
        let newest = self.state.map().group(group).expect("it is there").newest().clone();
        let replica = newest.members.last().expect("it has members").replica.clone();
        self.decide(&Command::ReportFilled { group, seen: newest.number, replica });
    }

    fn decide(&mut self, command: &Command) {
        let outcome = self.state.apply(self.state.applied() + 1, command);
        assert!(matches!(outcome, Outcome::Changed(_)), "{command}: {outcome:?}");
    }

    /// The map.
    pub fn map(&self) -> Arc<ClusterMap> {
        Arc::new(self.state.map().clone())
    }

    /// A group.
    pub fn entry(&self, group: GroupId) -> Entry {
        Arc::new(self.state.map().group(group).expect("it is there").clone())
    }
}

/// A member that answers batches by a function and nothing else.
pub struct PushOnly<F>(pub F);

fn unanswered<T: Send + 'static>() -> Answer<T> {
    futures::future::ready(Err(Unanswered("only batches are answered here".to_owned()))).boxed()
}

impl<F: Fn(Entry, Batch) -> Answer<PushReply> + Send + Sync + 'static> Member for PushOnly<F> {
    fn push(&self, entry: Entry, batch: Batch) -> Answer<PushReply> {
        (self.0)(entry, batch)
    }

    fn list(&self, _puller: ReplicaId, _entry: Entry, _after: Position) -> Answer<ListReply> {
        unanswered()
    }

    fn fetch(&self, _fetch: Fetch) -> Answer<Option<Fetched>> {
        unanswered()
    }

    fn seal(&self, _entry: Entry, _start: TimestampMs) -> Answer<SealReply> {
        unanswered()
    }

    fn select(&self, _entry: Entry, _request: SelectRequest) -> Answer<Selected> {
        unanswered()
    }

    fn labels(&self, _entry: Entry, _question: LabelQuestion) -> Answer<Labelled> {
        unanswered()
    }

    fn exemplars(&self, _tenant: TenantId, _range: TimeRange, _sets: Vec<Vec<Matcher>>) -> Answer<Vec<Exemplars>> {
        unanswered()
    }

    fn metadata(&self, _tenant: TenantId) -> Answer<BTreeMap<String, Metadata>> {
        unanswered()
    }
}

/// One member that stands for all.
pub struct Only(pub Arc<dyn Member>);

impl Members for Only {
    fn member(&self, _replica: &ReplicaId) -> Option<Arc<dyn Member>> {
        Some(self.0.clone())
    }
}

/// A writer to a group of this member alone, of generation 1, with 16 partitions. To be called within a runtime.
pub fn alone(member: Arc<dyn Member>, limits: Limits) -> Writer {
    let mut plane = Plane::new(1, 1, 16);
    plane.place();
    let (_, map) = watch::channel(plane.map());
    Writer::new(7, map, Arc::new(Only(member)), limits)
}

/// As [`alone`], with a function for what the member says at once.
pub fn saying(reply: impl Fn(&Batch) -> PushReply + Send + Sync + 'static, limits: Limits) -> Writer {
    let push = move |_: Entry, batch: Batch| futures::future::ready(Ok(reply(&batch))).boxed();
    alone(Arc::new(PushOnly(push)), limits)
}

/// That the batch was taken, at generation 1.
pub const TAKEN: PushReply = PushReply::Ok(cluster::GenerationNumber::FIRST);
