//! Asking the replicas of one group until a quorum has answered.

use std::pin::Pin;

use cluster::Replica as ReplicaId;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use model::{DurationMs, TimestampMs};
use peer::Unanswered;
use replication::reader::{Ask, Reader, Timing as ReaderTiming};
use replication::replica::ReadReply;
use replication::{Entry, Rules};
use tokio::time::Instant;
use tracing::debug;

use crate::cluster::Shared;
use crate::question::Question;

/// A group after its replicas were asked.
pub(crate) struct Answered<P> {
    /// Knows whether they were a quorum, and what they have dropped.
    pub(crate) reader: Reader,
    /// Of the replicas that count.
    pub(crate) parts: Vec<(ReplicaId, P)>,
}

type Reply<P> = (ReplicaId, Result<(ReadReply, P), Unanswered>);

/// The questions that are under way; dropping it takes them back.
struct Asking<'a, Q: Question> {
    shared: &'a Shared,
    question: &'a Q,
    calls: FuturesUnordered<BoxFuture<'static, Reply<Q::Part>>>,
}

impl<Q: Question> Asking<'_, Q> {
    fn ask(&self, asks: Vec<Ask>) {
        for ask in asks {
            let Ask::Replica { to, entry } = ask else { continue };
            let call = match self.shared.members.member(&to) {
                Some(member) => self.question.ask_member(&*member, entry).map(move |answer| (to, answer)).boxed(),
                None => {
                    let unknown = Unanswered(format!("nobody knows where {to} answers"));
                    futures::future::ready((to, Err(unknown))).boxed()
                }
            };
            self.calls.push(call);
        }
    }

    /// Asks those that were not asked yet.
    fn hedge(&self, reader: &mut Reader) {
        let asks = reader.hedge();
        self.shared.metrics.hedged.inc_by(asks.len() as u64);
        self.ask(asks);
    }
}

/// Asks as many members as make a quorum; the others when one of these is slow, or fails; all again when the group has moved on.
/// Ends when a quorum has answered, or when none can be had in time.
pub(crate) async fn ask_group<Q: Question>(
    shared: &Shared,
    entry: Entry,
    question: &Q,
    avoid: &[ReplicaId],
) -> Answered<Q::Part> {
    let timing = ReaderTiming {
        hedge_after: millis(shared.timing.hedge_after),
        give_up_after: millis(shared.timing.give_up_after),
    };
    let began = Instant::now();
    // The reader's time is that since the question came.
    let mut reader = Reader::new(entry.clone(), question.range(), timing, TimestampMs(0), Rules::ALL);
    let mut parts: Vec<(ReplicaId, Q::Part)> = Vec::new();
    let mut asking = Asking { shared, question, calls: FuturesUnordered::new() };
    asking.ask(reader.begin(&shared.preferred(&entry, avoid)));
    let mut hedge_timer: Pin<Box<tokio::time::Sleep>> =
        Box::pin(tokio::time::sleep_until(began + shared.timing.hedge_after));
    let mut end_timer = Box::pin(tokio::time::sleep_until(began + shared.timing.give_up_after));
    let mut hedge_due = false;
    while !reader.replicas_done() {
        if asking.calls.is_empty() {
            asking.hedge(&mut reader);
            if asking.calls.is_empty() {
                break;
            }
        }
        tokio::select! {
            Some((from, answer)) = asking.calls.next() => match answer {
                Ok((ReadReply::Stale(newer), _)) => {
                    match reader.learn(&newer) {
                        Some(asks) => {
                            // What was said at the generation before does not count, and its asks are of no use.
                            debug!(group = newer.id().0, generation = %newer.newest().number, "read begins again");
                            shared.metrics.restarted.inc();
                            parts.clear();
                            asking.calls = FuturesUnordered::new();
                            asking.ask(asks);
                        }
                        None => asking.hedge(&mut reader),
                    }
                }
                Ok((reply, part)) => {
                    if reader.replied(&from, &reply) {
                        parts.push((from, part));
                    } else {
                        asking.hedge(&mut reader);
                    }
                }
                Err(Unanswered(reason)) => {
                    debug!(replica = %from, error = reason, "replica did not answer a read");
                    shared.in_trouble(&from);
                    asking.hedge(&mut reader);
                }
            },
            () = &mut hedge_timer, if !hedge_due => {
                hedge_due = true;
                asking.hedge(&mut reader);
            }
            () = &mut end_timer => break,
        }
    }
    Answered { reader, parts }
}

fn millis(duration: std::time::Duration) -> DurationMs {
    DurationMs(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX))
}
