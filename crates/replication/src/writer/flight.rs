//! One batch on its way.

use std::collections::BTreeMap;

use cluster::{GenerationNumber, Replica as ReplicaId};
use model::TimestampMs;

use super::{RequestId, Why, counts};
use crate::entry::acks_needed;
use crate::{Entry, Rule, Rules};

/// What a replica has said to a flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Nothing yet.
    Outstanding,
    /// It was not sent to: too much is on its way to it.
    Skipped,
    /// It asked for definitions, which are being made.
    Need,
    /// It holds the batch.
    Ok,
    /// It cannot take it now.
    Failed(Why),
}

/// What becomes of a flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Open,
    Acked,
    Hopeless(Why),
}

#[derive(Debug)]
pub(super) struct Flight<P> {
    /// Who waits for it; nobody once it is acknowledged.
    pub(super) request: Option<RequestId>,
    pub(super) batch: P,
    generation: GenerationNumber,
    answers: BTreeMap<ReplicaId, Answer>,
    pub(super) resend_at: TimestampMs,
    pub(super) forget_at: Option<TimestampMs>,
}

impl<P> Flight<P> {
    pub(super) fn new(request: RequestId, batch: P) -> Flight<P> {
        let generation = GenerationNumber(0);
        let answers = BTreeMap::new();
        Flight { request: Some(request), batch, generation, answers, resend_at: TimestampMs::MIN, forget_at: None }
    }

    /// Rule *Write*, 3: at a new generation acknowledgements count afresh.
    pub(super) fn begin(&mut self, entry: &Entry, rules: Rules, resend_at: TimestampMs) {
        let before = std::mem::take(&mut self.answers);
        self.generation = entry.newest().number;
        self.resend_at = resend_at;
        self.answers = entry.newest().members.iter().map(|m| (m.replica.clone(), Answer::Outstanding)).collect();
        if !rules.keep(Rule::AcksOfOneGeneration) {
            self.answers.extend(before.into_iter().filter(|(_, answer)| *answer == Answer::Ok));
        }
    }

    pub(super) fn skip(&mut self, to: &ReplicaId) {
        self.answers.insert(to.clone(), Answer::Skipped);
    }

    pub(super) fn outstanding(&self) -> impl Iterator<Item = &ReplicaId> {
        let on_its_way = |answer: &Answer| matches!(answer, Answer::Outstanding);
        self.answers.iter().filter(move |(_, answer)| on_its_way(answer)).map(|(to, _)| to)
    }

    pub(super) fn is_outstanding(&self, to: &ReplicaId) -> bool {
        self.answers.get(to) == Some(&Answer::Outstanding)
    }

    pub(super) fn acked(&mut self, from: &ReplicaId, generation: GenerationNumber, rules: Rules) {
        // A member's word of another generation says nothing about this one.
        let member = self.answers.contains_key(from);
        if counts(rules, generation, self.generation) && (member || !rules.keep(Rule::AcksOfOneGeneration)) {
            self.answers.insert(from.clone(), Answer::Ok);
        }
    }

    pub(super) fn answered(&mut self, from: &ReplicaId, answer: Answer) {
        if let Some(held) = self.answers.get_mut(from).filter(|held| **held != Answer::Ok) {
            *held = answer;
        }
    }

    /// A replica asked for definitions. False if it had asked already.
    pub(super) fn needs(&mut self, from: &ReplicaId) -> bool {
        let first = self.is_outstanding(from);
        if first {
            self.answers.insert(from.clone(), Answer::Need);
        }
        first
    }

    /// A replica that asked for definitions has them. False if it does not wait for any.
    pub(super) fn defined(&mut self, to: &ReplicaId) -> bool {
        let waiting = self.answers.get_mut(to).filter(|answer| **answer == Answer::Need);
        waiting.map(|answer| *answer = Answer::Outstanding).is_some()
    }

    /// Those that could not take it, and may be able to now.
    pub(super) fn to_retry(&self) -> Vec<ReplicaId> {
        let failed = |answer: &Answer| {
            matches!(answer, Answer::Failed(why) if *why != Why::Refused) || *answer == Answer::Skipped
        };
        self.answers.iter().filter(|(_, answer)| failed(answer)).map(|(to, _)| to.clone()).collect()
    }

    pub(super) fn send_again(&mut self, to: &ReplicaId) {
        self.answers.insert(to.clone(), Answer::Outstanding);
    }

    /// Nobody is left to be sent to.
    pub(super) fn is_delivered(&self) -> bool {
        !self.answers.values().any(|answer| matches!(answer, Answer::Outstanding | Answer::Need))
    }

    pub(super) fn verdict(&self, entry: &Entry, _rules: Rules) -> Verdict {
        let needed = acks_needed(entry);
        let count = |wanted: fn(&Answer) -> bool| self.answers.values().filter(|answer| wanted(answer)).count();
        let ok = count(|answer| *answer == Answer::Ok);
        if ok >= needed {
            return Verdict::Acked;
        }
        let undecided = count(|answer| matches!(answer, Answer::Outstanding | Answer::Need));
        if ok + undecided >= needed {
            return Verdict::Open;
        }
        if self.answers.len() - count(|answer| *answer == Answer::Failed(Why::Refused)) < needed {
            return Verdict::Hopeless(Why::Refused);
        }
        let overloaded = |answer: &Answer| matches!(answer, Answer::Failed(Why::Overload) | Answer::Skipped);
        let why = if count(overloaded) > 0 { Why::Overload } else { Why::Unavailable };
        Verdict::Hopeless(why)
    }
}
