//! Letters to requests.

use batch::Batch;
use cluster::{GroupId, Replica as ReplicaId};
use model::{SeriesId, TimestampMs};
use parking_lot::Mutex;
use peer::Unanswered;
use replication::replica::PushReply;
use replication::writer::Outcome;
use tokio::sync::Notify;

use crate::refusals::Refusal;

/// What a request is told.
pub(crate) enum Letter {
    /// A replica wants these definitions.
    Define { to: ReplicaId, group: GroupId, batch: Batch, ids: Vec<SeriesId> },
    /// Time before this takes no more samples.
    Split { group: GroupId, batch: Batch, sealed_before: TimestampMs },
    /// It is over, or those of its parts that were sent as one batch are.
    Done(Outcome),
    /// A part has to be sent again, without others.
    Part,
}

/// What replicas said last, for the words of an error.
#[derive(Debug, Default)]
pub(crate) struct Said {
    pub(crate) unable: Option<String>,
    pub(crate) limit_bytes: Option<usize>,
    pub(crate) refused: Option<String>,
}

/// Where a request finds what it is told. Letters are at most one per batch and replica, and one at the end of each batch.
#[derive(Default)]
pub(crate) struct Mailbox {
    letters: Mutex<(Vec<Letter>, Said)>,
    pub(crate) wake: Notify,
}

impl Mailbox {
    pub(super) fn put(&self, letter: Letter) {
        self.letters.lock().0.push(letter);
        self.wake.notify_one();
    }

    pub(crate) fn take(&self) -> Vec<Letter> {
        std::mem::take(&mut self.letters.lock().0)
    }

    pub(crate) fn said(&self) -> Said {
        std::mem::take(&mut self.letters.lock().1)
    }

    pub(super) fn note(&self, from: &ReplicaId, said: &Result<PushReply, Unanswered>) {
        let Said { unable, limit_bytes, refused } = &mut self.letters.lock().1;
        match said {
            Err(why) => *unable = Some(format!("{from}: {why}")),
            Ok(PushReply::NotNow(_)) => {
                let why = Refusal::of(said).map_or("", Refusal::as_str);
                *unable = Some(format!("{from} takes nothing now: {why}"));
            }
            Ok(PushReply::Full { limit_bytes: limit }) => *limit_bytes = Some(*limit),
            Ok(PushReply::Refused(why)) => *refused = Some(format!("{from}: {why}")),
            Ok(PushReply::Ok(_) | PushReply::Stale(_) | PushReply::Sealed(_) | PushReply::Need(_)) => {}
        }
    }
}
