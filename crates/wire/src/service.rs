//! What the services have in common: whom a call is meant for, how many there are at once, until when.

mod ingester;
mod scraper;
mod store;

pub use ingester::IngesterService;
pub use scraper::ScraperService;
pub use store::StoreService;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cluster::{DecodeError, Replica};
use futures::stream::unfold;
use futures::{Stream, StreamExt};
use peer::{Answer, Unanswered};
use proto::v1::{PeerReply, PeerRequest, Recipient};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};

use crate::MESSAGE_BYTES_MAX;
use crate::record::{Record, decode, encode};

/// Calls besides pushes that are answered at once; one more is refused.
const CALLS_MAX: usize = 512;
/// Room for what stands around a frame.
pub(crate) const AROUND_BYTES: usize = 1024;

/// Who serves: calls for anyone else are refused.
#[derive(Clone, Debug)]
pub struct Own {
    /// `--cluster.name`.
    pub cluster: String,
    /// The node with its directory.
    pub replica: Replica,
}

impl Own {
    fn check(&self, to: Option<&Recipient>) -> Result<(), Status> {
        let to = to.ok_or_else(|| Status::invalid_argument("the call does not say whom it is meant for"))?;
        if to.cluster != self.cluster.as_bytes() {
            let asked = String::from_utf8_lossy(&to.cluster);
            return Err(Status::permission_denied(format!("this is cluster {:?}, not {asked:?}", self.cluster)));
        }
        let Replica { node, incarnation } = &self.replica;
        if to.node != node.as_str().as_bytes() || to.incarnation != incarnation.0 {
            let asked = format!("{}/{:016x}", String::from_utf8_lossy(&to.node), to.incarnation);
            return Err(Status::failed_precondition(format!("this is {}, not {asked}", self.replica)));
        }
        Ok(())
    }
}

/// The way into a service.
pub(crate) struct Gate {
    own: Own,
    places: Arc<Semaphore>,
}

/// A call that is being answered.
pub(crate) struct Entered {
    _place: OwnedSemaphorePermit,
    deadline: Option<Instant>,
}

pub(crate) type ReplyStream = Pin<Box<dyn Stream<Item = Result<PeerReply, Status>> + Send>>;

impl Gate {
    pub(crate) fn new(own: Own) -> Gate {
        Gate { own, places: Arc::new(Semaphore::new(CALLS_MAX)) }
    }

    /// Admits a call and reads its question.
    pub(crate) fn enter<R: Record>(&self, request: Request<PeerRequest>) -> Result<(Entered, R), Status> {
        let deadline = deadline(request.metadata());
        let PeerRequest { to, frame } = request.into_inner();
        self.own.check(to.as_ref())?;
        let refused = |_| Status::resource_exhausted("too many calls at once");
        let place = self.places.clone().try_acquire_owned().map_err(refused)?;
        let question = decode(&proto::open(frame, MESSAGE_BYTES_MAX)?).map_err(unreadable)?;
        Ok((Entered { _place: place, deadline }, question))
    }
}

impl Entered {
    /// Waits for an answer, until the caller does not wait any more.
    pub(crate) async fn wait<T>(&self, answer: Answer<T>) -> Result<T, Status> {
        within(self.deadline, answer).await
    }

    /// An answer of one message.
    pub(crate) async fn short<R: Record>(self, answer: Answer<R>) -> Result<Response<PeerReply>, Status> {
        reply(encode(&self.wait(answer).await?)).map(Response::new)
    }

    /// An answer of many messages.
    pub(crate) fn stream(self, messages: impl Stream<Item = Bytes> + Send + 'static) -> Response<ReplyStream> {
        let state = Some((self, Box::pin(messages)));
        Response::new(Box::pin(unfold(state, |state| async move {
            let (entered, mut messages) = state?;
            // Cancel-safe because a stream that is late ends.
            match until(entered.deadline, messages.next()).await {
                Ok(message) => Some((reply(message?), Some((entered, messages)))),
                Err(late) => Some((Err(late), None)),
            }
        })))
    }
}

/// A message that goes out.
pub(crate) fn reply(payload: Bytes) -> Result<PeerReply, Status> {
    if payload.len() > MESSAGE_BYTES_MAX - AROUND_BYTES {
        let said =
            format!("an answer of {} bytes in one piece, at most {MESSAGE_BYTES_MAX} can be sent", payload.len());
        return Err(Status::out_of_range(said));
    }
    Ok(PeerReply { frame: Some(proto::seal(payload)) })
}

pub(crate) fn unreadable(error: DecodeError) -> Status {
    match error {
        DecodeError::Version { .. } => Status::unimplemented(error.to_string()),
        _ => Status::invalid_argument(format!("read question: {error}")),
    }
}

pub(crate) async fn within<T>(deadline: Option<Instant>, answer: Answer<T>) -> Result<T, Status> {
    until(deadline, answer).await?.map_err(|Unanswered(why)| Status::unavailable(why))
}

async fn until<T>(deadline: Option<Instant>, work: impl Future<Output = T>) -> Result<T, Status> {
    match deadline {
        None => Ok(work.await),
        Some(at) => {
            tokio::time::timeout_at(at, work).await.map_err(|_| Status::deadline_exceeded("the caller's time is over"))
        }
    }
}

/// When the caller stops waiting, by `grpc-timeout`. What cannot be read is passed over: the caller ends the call itself.
pub(crate) fn deadline(metadata: &MetadataMap) -> Option<Instant> {
    let text = metadata.get("grpc-timeout")?.to_str().ok()?;
    Instant::now().checked_add(timeout_of(text)?)
}

/// At most eight digits and a unit. Source: gRPC over HTTP2, "Timeout".
fn timeout_of(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let n: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(n * 3600)),
        "M" => Some(Duration::from_secs(n * 60)),
        "S" => Some(Duration::from_secs(n)),
        "m" => Some(Duration::from_millis(n)),
        "u" => Some(Duration::from_micros(n)),
        "n" => Some(Duration::from_nanos(n)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_digits_and_a_unit() {
        for (text, expected) in [
            ("5S", Some(Duration::from_secs(5))),
            ("10000000u", Some(Duration::from_secs(10))),
            ("250m", Some(Duration::from_millis(250))),
            ("99999999H", Some(Duration::from_secs(99_999_999 * 3600))),
            ("2M", Some(Duration::from_secs(120))),
            ("7n", Some(Duration::from_nanos(7))),
            ("999999999n", None),
            ("S", None),
            ("", None),
            ("5", None),
            ("-5S", None),
            ("5s", None),
            ("5ü", None),
        ] {
            assert_eq!(timeout_of(text), expected, "{text:?}");
        }
    }
}
