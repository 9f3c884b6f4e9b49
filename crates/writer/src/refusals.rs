//! Why replicas did not take a batch, counted.

use std::sync::atomic::{AtomicU64, Ordering};

use peer::Unanswered;
use replication::replica::{NotNow, PushReply};

/// What a replica did instead of taking a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No answer came.
    Unanswered,
    /// It knows a later generation.
    Stale,
    /// It is no member.
    NoMember,
    /// It does not hold what was acknowledged before.
    Unfilled,
    /// Its log or its process cannot.
    Unavailable,
    /// The time takes no more samples.
    Sealed,
    /// It wants definitions.
    Need,
    /// It has no room.
    Full,
    /// It says that the batch cannot be, a definition with other labels than those held for one.
    Refused,
}

impl Refusal {
    /// All of them.
    pub const ALL: [Refusal; 9] = [
        Refusal::Unanswered,
        Refusal::Stale,
        Refusal::NoMember,
        Refusal::Unfilled,
        Refusal::Unavailable,
        Refusal::Sealed,
        Refusal::Need,
        Refusal::Full,
        Refusal::Refused,
    ];

    /// The word in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Refusal::Unanswered => "unanswered",
            Refusal::Stale => "stale",
            Refusal::NoMember => "no_member",
            Refusal::Unfilled => "unfilled",
            Refusal::Unavailable => "unavailable",
            Refusal::Sealed => "sealed",
            Refusal::Need => "need",
            Refusal::Full => "full",
            Refusal::Refused => "refused",
        }
    }

    /// What an answer says; `None` where the batch was taken.
    pub(crate) fn of(said: &Result<PushReply, Unanswered>) -> Option<Refusal> {
        match said {
            Err(_) => Some(Refusal::Unanswered),
            Ok(PushReply::Ok(_)) => None,
            Ok(PushReply::Stale(_)) => Some(Refusal::Stale),
            Ok(PushReply::NotNow(NotNow::NoMember)) => Some(Refusal::NoMember),
            Ok(PushReply::NotNow(NotNow::Unfilled)) => Some(Refusal::Unfilled),
            Ok(PushReply::NotNow(NotNow::Unavailable)) => Some(Refusal::Unavailable),
            Ok(PushReply::Sealed(_)) => Some(Refusal::Sealed),
            Ok(PushReply::Need(_)) => Some(Refusal::Need),
            Ok(PushReply::Full { .. }) => Some(Refusal::Full),
            Ok(PushReply::Refused(_)) => Some(Refusal::Refused),
        }
    }
}

/// How often each happened.
#[derive(Debug, Default)]
pub(crate) struct Refusals([AtomicU64; Refusal::ALL.len()]);

impl Refusals {
    pub(crate) fn count(&self, refusal: Refusal) {
        self.0[refusal as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> Vec<(Refusal, u64)> {
        Refusal::ALL.into_iter().map(|r| (r, self.0[r as usize].load(Ordering::Relaxed))).collect()
    }
}
