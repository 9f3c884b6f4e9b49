//! The base rule: which replies together have heard of everything that was acknowledged.
//!
//! *Quorum(g, replies)*: a majority of the members of g (factor 2: one filled member for a read, since a write needs both;
//! both for a seal); and, if any member of g is unfilled (by the map or by its own word in its reply), also a majority of
//! the generation before, and so on back to the first all-filled one. Replies count only if sent at exactly generation g,
//! and with the flags they carried.
//!
//! Where the text is silent: a reply may call its sender unfilled although the entry in hand says that all are filled and
//! keeps nothing earlier. The reply then is older than the entry, and what it lacks cannot be made good by earlier
//! generations that are not known any more. It does not count, as if it had been lost.

use std::collections::BTreeMap;

use cluster::{Generation, GenerationNumber, Group, Replica as ReplicaId};

use crate::{Rule, Rules};

/// What a reply said about its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flags {
    /// The sender's generation when it replied.
    pub generation: GenerationNumber,
    /// Whether the sender held all that was acknowledged at earlier generations.
    pub filled: bool,
}

/// What the quorum is for; it matters to groups of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Finding what was acknowledged.
    Read,
    /// Stopping acknowledgements.
    Seal,
}

/// The replies that have come, by sender.
pub type Replies = BTreeMap<ReplicaId, Flags>;

/// *Quorum(g, replies)*, g being the newest generation of `group`.
pub fn has_quorum(group: &Group, purpose: Purpose, replies: &Replies, rules: Rules) -> bool {
    reaches_back(group.generations(), group, purpose, replies, rules)
}

/// Whether `replies`, sent at the newest generation, fill the member that joined in it: a quorum of the generations before.
/// False where there is no generation before.
pub fn fills(group: &Group, replies: &Replies, rules: Rules) -> bool {
    let generations = group.generations();
    generations.len() > 1 && reaches_back(&generations[..generations.len() - 1], group, Purpose::Read, replies, rules)
}

/// Whether `replies` have a majority of the last of `generations`, and of those before as far back as is needed.
fn reaches_back(generations: &[Generation], group: &Group, purpose: Purpose, replies: &Replies, rules: Rules) -> bool {
    let at = group.newest().number;
    let judge = Judge { at, oldest: &group.generations()[0], replies, purpose, rules };
    for generation in generations.iter().rev() {
        if !judge.has_majority(generation) {
            return false;
        }
        if judge.all_filled(generation) || !rules.keep(Rule::GenerationsBefore) {
            return true;
        }
    }
    // The oldest generation that counts is all filled, and a reply that denies it does not count.
    false
}

struct Judge<'a> {
    at: GenerationNumber,
    oldest: &'a Generation,
    replies: &'a Replies,
    purpose: Purpose,
    rules: Rules,
}

impl Judge<'_> {
    /// The reply of a replica, if it counts.
    fn reply(&self, replica: &ReplicaId) -> Option<Flags> {
        let mut flags = *self.replies.get(replica)?;
        if flags.generation != self.at && self.rules.keep(Rule::OlderGenerationsRefused) {
            return None;
        }
        if !self.rules.keep(Rule::FlagOfTheReply) {
            flags.filled = true;
        }
        let denies_the_map = !flags.filled && self.oldest.position(replica).is_some();
        (!denies_the_map).then_some(flags)
    }

    fn has_majority(&self, generation: &Generation) -> bool {
        let replies = || generation.members.iter().filter_map(|m| self.reply(&m.replica));
        match (generation.members.len(), self.purpose) {
            (2, Purpose::Read) => replies().any(|flags| flags.filled),
            (2, Purpose::Seal) => replies().count() == 2,
            (count, _) => replies().count() * 2 > count,
        }
    }

    fn all_filled(&self, generation: &Generation) -> bool {
        generation.members.iter().all(|m| m.filled && self.reply(&m.replica).is_none_or(|flags| flags.filled))
    }
}

#[cfg(test)]
mod tests;
