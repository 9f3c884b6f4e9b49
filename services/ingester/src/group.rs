//! The replica's core with what surrounds it in memory: records on their way to the log, and who waits for what is said.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use batch::Batch;
use head::Refs;
use replication::puller::Puller;
use replication::replica::{Effects, ListReply, NotNow, PushReply, ReadReply, Replica, Reply, SealReply, Token};
use replication::{Position, Record};
use tokio::sync::oneshot;

/// The core of an ingester.
pub(crate) type Core = Replica<Arc<Batch>>;

/// A record on its way into the log and the head.
pub(crate) struct Entry {
    pub(crate) position: Position,
    pub(crate) record: Record<Arc<Batch>>,
    /// Where the series of a batch that was pushed are.
    pub(crate) refs: Refs,
}

impl Entry {
    /// What it takes of the bytes of a commit, about.
    pub(crate) fn bytes(&self) -> usize {
        match &self.record {
            Record::Batch(batch) => batch.bytes().len(),
            Record::Merged(_)
            | Record::Adopted(_)
            | Record::Filled(_)
            | Record::Covered { .. }
            | Record::Sealed { .. }
            | Record::Dropped { .. }
            | Record::Freed { .. }
            | Record::Watermark { .. } => 0,
        }
    }
}

/// Bytes of a batch between arrival and answer; given back when dropped.
pub(crate) struct InFlight {
    bytes: usize,
    all: Arc<AtomicUsize>,
}

impl InFlight {
    /// `None` where there is no room.
    pub(crate) fn take(all: &Arc<AtomicUsize>, bytes: usize, max: usize) -> Option<InFlight> {
        if all.fetch_add(bytes, Ordering::Relaxed) + bytes > max {
            all.fetch_sub(bytes, Ordering::Relaxed);
            return None;
        }
        Some(InFlight { bytes, all: all.clone() })
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Somebody who waits for what is said. One that stopped waiting needs no answer.
pub(crate) enum Waiter {
    Push { reply: oneshot::Sender<PushReply>, in_flight: InFlight },
    Seal(oneshot::Sender<SealReply>),
    Read(oneshot::Sender<ReadReply>),
    List(oneshot::Sender<ListReply>),
}

impl Waiter {
    /// Says it.
    pub(crate) fn hear(self, reply: Reply) {
        match (self, reply) {
            (Waiter::Push { reply, in_flight }, Reply::Push(said)) => {
                drop(in_flight);
                drop(reply.send(said));
            }
            (Waiter::Seal(reply), Reply::Seal(said)) => drop(reply.send(said)),
            (Waiter::Read(reply), Reply::Read(said)) => drop(reply.send(said)),
            (Waiter::List(reply), Reply::List(said)) => drop(reply.send(said)),
            (_, other) => debug_assert!(false, "{other:?} was not asked for"),
        }
    }

    /// The log or the head does not work. Others than writers take no answer for that.
    pub(crate) fn give_up(self) {
        if let Waiter::Push { .. } = self {
            self.hear(Reply::Push(PushReply::NotNow(NotNow::Unavailable)));
        }
    }
}

/// What is told once a commit is durable and applied.
#[derive(Default)]
pub(crate) struct Told {
    pub(crate) said: Vec<(Waiter, Reply)>,
    pub(crate) done: Vec<oneshot::Sender<Position>>,
    pub(crate) synced: Position,
}

impl Told {
    /// Tells it.
    pub(crate) fn tell(&mut self) {
        self.said.drain(..).for_each(|(waiter, reply)| waiter.hear(reply));
        // Who stopped waiting needs no answer.
        self.done.drain(..).for_each(|done| {
            done.send(self.synced).ok();
        });
    }

    /// Tells writers that it is not so.
    pub(crate) fn give_up(&mut self) {
        self.said.drain(..).for_each(|(waiter, _)| waiter.give_up());
        self.done.clear();
    }
}

/// Guarded by one lock, which is held for a few hash look-ups at a time, never over I/O or a lock of the head. It is no task,
/// because a push has to know at once whether it is taken.
pub(crate) struct Group {
    pub(crate) core: Core,
    /// Appended to the core and not yet taken by the log thread.
    pub(crate) to_log: VecDeque<Entry>,
    /// Its requests are decided on the core's state.
    pub(crate) puller: Puller,
    waiters: HashMap<Token, Waiter>,
    /// Who waits until a position is synced and applied.
    until: VecDeque<(Position, oneshot::Sender<Position>)>,
    next_token: u64,
    waiting_max: usize,
    pub(crate) stopping: bool,
    /// Something besides `to_log` is to be done by the log thread: try again, or truncate.
    pub(crate) poked: bool,
    /// The log does not work at the moment; whoever asks has it tried again.
    pub(crate) is_failing: bool,
}

impl Group {
    pub(crate) fn new(core: Core, effects: Effects<Arc<Batch>>, waiting_max: usize) -> Group {
        let mut group = Group {
            core,
            to_log: VecDeque::new(),
            puller: Puller::default(),
            waiters: HashMap::new(),
            until: VecDeque::new(),
            next_token: 0,
            waiting_max,
            stopping: false,
            poked: false,
            is_failing: false,
        };
        group.queue(effects.append, Refs::default());
        group
    }

    /// Puts a question to the core. What it says at once is returned, and the waiter with it; else the waiter is kept. `None` also
    /// where too many wait.
    pub(crate) fn ask(
        &mut self,
        waiter: Waiter,
        refs: Refs,
        question: impl FnOnce(&mut Core, Token) -> Effects<Arc<Batch>>,
    ) -> Option<(Waiter, Reply)> {
        if self.stopping || self.waiters.len() >= self.waiting_max || self.core.sizes().1 >= self.waiting_max {
            waiter.give_up();
            return None;
        }
        self.next_token += 1;
        let token = Token(self.next_token);
        let waiting = self.core.sizes().1;
        let effects = question(&mut self.core, token);
        self.queue(effects.append, refs);
        self.poked |= self.is_failing;
        debug_assert!(effects.replies.len() <= 1, "what waits is said when it is synced");
        match effects.replies.into_iter().next() {
            Some((_, reply)) => Some((waiter, reply)),
            // Another group's question: there is no word for that.
            None if self.core.sizes().1 == waiting => None,
            None => {
                self.waiters.insert(token, waiter);
                None
            }
        }
    }

    /// Logs what the core wants logged.
    pub(crate) fn log(&mut self, effects: Effects<Arc<Batch>>) {
        debug_assert!(effects.replies.is_empty() && effects.applied.is_empty());
        self.queue(effects.append, Refs::default());
    }

    /// Resolves when everything appended up to now is synced and applied; with an error when the log gives up.
    pub(crate) fn settled(&mut self) -> oneshot::Receiver<Position> {
        let (sender, receiver) = oneshot::channel();
        let last = self.core.appended_position();
        if self.stopping {
            return receiver;
        }
        self.poked = true;
        self.until.push_back((last, sender));
        receiver
    }

    fn queue(&mut self, append: Vec<(Position, Record<Arc<Batch>>)>, refs: Refs) {
        let mut refs = Some(refs);
        for (position, record) in append {
            let refs = if matches!(record, Record::Batch(_)) { refs.take() } else { None };
            self.to_log.push_back(Entry { position, record, refs: refs.unwrap_or_default() });
        }
    }

    /// The log is synced up to here; what is to be told then.
    pub(crate) fn synced(&mut self, position: Position) -> Told {
        self.is_failing = false;
        let effects = self.core.synced(position);
        let mut told = Told { synced: position, ..Told::default() };
        for (token, reply) in effects.replies {
            told.said.extend(self.waiters.remove(&token).map(|waiter| (waiter, reply)));
        }
        while self.until.front().is_some_and(|(until, _)| *until <= position) {
            told.done.extend(self.until.pop_front().map(|(_, done)| done));
        }
        told
    }

    /// Nobody is told anything now: who waits asks again. What was appended stays.
    pub(crate) fn give_up(&mut self) -> Vec<Waiter> {
        self.until.clear();
        std::mem::take(&mut self.waiters).into_values().collect()
    }
}
