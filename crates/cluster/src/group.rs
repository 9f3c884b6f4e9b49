//! Groups and their generations: who holds a partition's samples, and since when each member may be trusted to hold all.
//!
//! A group keeps the generations since the last one whose members were all filled, because quorums reach back that far.
//! Two successive generations differ in one member, and the earlier one is all filled, or the member exchanged is the
//! unfilled one (assertion 3 of the replication protocol). So at most one member is ever unfilled, and always in the same
//! place of the list.

use std::fmt;

use crate::{NodeId, Replica};

/// A group's number; groups are numbered from 0 in the order of their creation and are never removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupId(pub u32);

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A generation's number within its group; the first is 1. Replicas and writers compare generations by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GenerationNumber(pub u64);

impl GenerationNumber {
    /// That of a new group.
    pub const FIRST: GenerationNumber = GenerationNumber(1);
}

impl fmt::Display for GenerationNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// One place in a generation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Member {
    /// Who.
    pub replica: Replica,
    /// Whether it has reported to hold every sample acknowledged at earlier generations.
    pub filled: bool,
}

/// The numbered member list of a group.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Generation {
    /// Its number.
    pub number: GenerationNumber,
    /// Its members in order; a member's place is its rank when a range is closed.
    pub members: Vec<Member>,
}

impl Generation {
    /// Whether each member is filled, so that quorums need look no further back.
    pub fn all_filled(&self) -> bool {
        self.members.iter().all(|m| m.filled)
    }

    /// The place of a replica.
    pub fn position(&self, replica: &Replica) -> Option<usize> {
        self.members.iter().position(|m| m.replica == *replica)
    }
}

/// Why a change of a group is against the rules.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// The proposer decided on an older generation than the newest.
    #[error("decided at generation {seen}, but the newest is {newest}")]
    Stale {
        /// What the proposer saw.
        seen: GenerationNumber,
        /// What is.
        newest: GenerationNumber,
    },
    /// The replica is not in the newest generation.
    #[error("{0} is no member")]
    NoMember(Replica),
    /// A filled member cannot leave while another is unfilled.
    #[error("{leaving} cannot be replaced while {unfilled} is not filled")]
    NotFilled {
        /// The filled member that was to leave.
        leaving: Replica,
        /// The member that must be filled, or replaced, first.
        unfilled: Replica,
    },
    /// The replica, or another incarnation of its node, is in a generation that still counts.
    #[error("{0} is in a generation that still counts")]
    AlreadyMember(Replica),
    /// The unfilled member was exchanged too often without one being filled.
    #[error("{generations} generations without all members filled: one must be filled first")]
    TooManyGenerations {
        /// How many there are.
        generations: usize,
    },
}

/// The unit of replication: replicas that together hold some partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    id: GroupId,
    /// Oldest first, never empty: the last all-filled one and what came after it.
    generations: Vec<Generation>,
}

impl Group {
    /// Most members of a group.
    pub const MEMBERS_MAX: usize = 3;

    /// Most generations that count at once. It bounds how often the unfilled member may be exchanged in a row.
    pub const GENERATIONS_MAX: usize = 8;

    /// A new group holds nothing yet, so all its members are filled.
    pub(crate) fn new(id: GroupId, members: impl IntoIterator<Item = Replica>) -> Group {
        let members = members.into_iter().map(|replica| Member { replica, filled: true }).collect();
        Group { id, generations: vec![Generation { number: GenerationNumber::FIRST, members }] }
    }

    /// A group as it was stored; [`Group::check`] tells whether it can be.
    pub(crate) fn from_parts(id: GroupId, generations: Vec<Generation>) -> Group {
        Group { id, generations }
    }

    /// Its number.
    pub fn id(&self) -> GroupId {
        self.id
    }

    /// The generations that count, oldest first: the last all-filled one and what came after it.
    pub fn generations(&self) -> &[Generation] {
        &self.generations
    }

    /// The newest generation.
    pub fn newest(&self) -> &Generation {
        self.generations.last().expect("a group is born with a generation and keeps the newest")
    }

    /// Whether a replica of this node is in a generation that counts.
    pub fn involves(&self, node: &NodeId) -> bool {
        self.generations.iter().flat_map(|g| &g.members).any(|m| m.replica.node == *node)
    }

    /// The generation that [`Group::replace`] would begin. `seen` is the newest generation that the proposer knew.
    pub(crate) fn successor(
        &self,
        seen: GenerationNumber,
        leaving: &Replica,
        joining: &Replica,
    ) -> Result<Generation, ChangeError> {
        let newest = self.newest_as_seen(seen)?;
        let place = newest.position(leaving).ok_or_else(|| ChangeError::NoMember(leaving.clone()))?;
        if let Some(unfilled) = newest.members.iter().find(|m| !m.filled && m.replica != *leaving) {
            return Err(ChangeError::NotFilled { leaving: leaving.clone(), unfilled: unfilled.replica.clone() });
        }
        // A node may follow itself with a new directory, but a directory that left comes back only after the generations
        // in which it was a member have ceased to count: its own word on being filled would else be ambiguous.
        let counts = self.generations.iter().flat_map(|g| &g.members).any(|m| m.replica == *joining);
        let beside = newest.members.iter().any(|m| m.replica.node == joining.node && m.replica != *leaving);
        if counts || beside {
            return Err(ChangeError::AlreadyMember(joining.clone()));
        }
        if self.generations.len() >= Group::GENERATIONS_MAX {
            return Err(ChangeError::TooManyGenerations { generations: self.generations.len() });
        }
        let mut members = newest.members.clone();
        members[place] = Member { replica: joining.clone(), filled: false };
        Ok(Generation { number: GenerationNumber(newest.number.0 + 1), members })
    }

    /// Begins a generation that [`Group::successor`] has made.
    pub(crate) fn begin(&mut self, generation: Generation) {
        self.generations.push(generation);
        debug_assert_eq!(self.check(), Ok(()));
    }

    /// Whether the report of [`Group::fill`] is legal, and the place of the member; `None` when it is filled already.
    pub(crate) fn unfilled_place(
        &self,
        seen: GenerationNumber,
        replica: &Replica,
    ) -> Result<Option<usize>, ChangeError> {
        let newest = self.newest_as_seen(seen)?;
        let place = newest.position(replica).ok_or_else(|| ChangeError::NoMember(replica.clone()))?;
        Ok((!newest.members[place].filled).then_some(place))
    }

    /// Sets the member in this place of the newest generation filled. Once all are, earlier generations cease to count.
    pub(crate) fn fill(&mut self, place: usize) {
        let newest = self.generations.last_mut().expect("a group keeps its newest generation");
        newest.members[place].filled = true;
        if newest.all_filled() {
            self.generations.drain(..self.generations.len() - 1);
        }
        debug_assert_eq!(self.check(), Ok(()));
    }

    fn newest_as_seen(&self, seen: GenerationNumber) -> Result<&Generation, ChangeError> {
        let newest = self.newest();
        if newest.number == seen { Ok(newest) } else { Err(ChangeError::Stale { seen, newest: newest.number }) }
    }

    /// The promises that hold whatever commands came; `Err` names the one that does not.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        let rule = |holds: bool, rule: &'static str| if holds { Ok(()) } else { Err(rule) };
        let Some(first) = self.generations.first() else { return Err("a group has a generation") };
        rule(self.generations.len() <= Group::GENERATIONS_MAX, "generations that count are few")?;
        rule(first.number >= GenerationNumber::FIRST, "generations are numbered from 1")?;
        rule((1..=Group::MEMBERS_MAX).contains(&first.members.len()), "a group has one to three members")?;
        rule(first.all_filled(), "the first generation that counts is all filled")?;
        for generation in &self.generations {
            let nodes: std::collections::BTreeSet<_> = generation.members.iter().map(|m| &m.replica.node).collect();
            rule(nodes.len() == generation.members.len(), "a node is a member of a generation once")?;
        }
        for (earlier, later) in self.generations.iter().zip(&self.generations[1..]) {
            rule(earlier.number.0.checked_add(1) == Some(later.number.0), "generations are numbered without a gap")?;
            rule(earlier.members.len() == later.members.len(), "generations of a group have as many members")?;
            let differing: Vec<_> =
                earlier.members.iter().zip(&later.members).filter(|(e, l)| e.replica != l.replica).collect();
            let [(left, joined)] = differing[..] else { return Err("two generations differ in one member") };
            rule(
                earlier.all_filled() || !left.filled,
                "a member leaves an all-filled generation or is the unfilled one",
            )?;
            let unfilled = later.members.iter().filter(|m| !m.filled).count();
            rule(!joined.filled && unfilled == 1, "the newest member alone is unfilled")?;
            let again = self.generations.iter().filter(|g| g.number < later.number);
            rule(again.into_iter().all(|g| g.position(&joined.replica).is_none()), "no replica joins twice")?;
        }
        Ok(())
    }
}
