//! What the clients have in common: calls to one node, and reading what it answers.

mod member;
mod scraper;
mod store;

pub(crate) use member::RemoteMember;
pub(crate) use scraper::RemoteScraper;
pub(crate) use store::RemoteStore;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cluster::{Address, DecodeError, Replica};
use futures::StreamExt;
use futures::stream::{BoxStream, unfold};
use peer::Unanswered;
use proto::v1::{PeerReply, PeerRequest, Recipient};
use storage::{SelectError, SeriesBatch};
use tokio::time::Instant;
use tonic::transport::Channel;
use tonic::{Request, Response, Status, Streaming};

use crate::page::{self, Message, SeriesReader};
use crate::record::{Record, decode, encode};
use crate::{Limits, MESSAGE_BYTES_MAX};

/// The way to one node.
pub(crate) struct Link {
    pub(crate) channel: Channel,
    pub(crate) limits: Limits,
    to: Recipient,
    name: String,
}

/// Why an answer cannot be read.
#[derive(Debug)]
enum ReadError {
    Status(Status),
    Frame(proto::FrameError),
    Decode(DecodeError),
    Late,
    Cut,
    Unexpected,
    TooLarge { bytes_max: usize },
    Failed(SelectError),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // The message alone is often "transport error"; why is in the sources.
            ReadError::Status(status) => match std::error::Error::source(status) {
                Some(source) => write!(f, "{}: {}", status.message(), storage::chain(source)),
                None => f.write_str(status.message()),
            },
            ReadError::Frame(error) => error.fmt(f),
            ReadError::Decode(error) => write!(f, "read answer: {error}"),
            ReadError::Late => f.write_str("no answer in time"),
            ReadError::Cut => f.write_str("the answer was cut short"),
            ReadError::Unexpected => f.write_str("the answer's messages are out of order"),
            ReadError::TooLarge { bytes_max } => write!(f, "the answer is larger than {bytes_max} bytes"),
            ReadError::Failed(error) => error.fmt(f),
        }
    }
}

impl From<Status> for ReadError {
    fn from(status: Status) -> ReadError {
        ReadError::Status(status)
    }
}

impl From<proto::FrameError> for ReadError {
    fn from(error: proto::FrameError) -> ReadError {
        ReadError::Frame(error)
    }
}

impl From<DecodeError> for ReadError {
    fn from(error: DecodeError) -> ReadError {
        ReadError::Decode(error)
    }
}

impl Link {
    pub(crate) fn new(cluster: &Bytes, to: &Replica, address: &Address, channel: Channel, limits: Limits) -> Link {
        let node = Bytes::copy_from_slice(to.node.as_str().as_bytes());
        let name = format!("{} at {address}", to.node);
        let to = Recipient { cluster: cluster.clone(), node, incarnation: to.incarnation.0 };
        Link { channel, limits, to, name }
    }

    /// A question, with the time in which it must be answered.
    fn ask<R: Record>(&self, question: &R, timeout: Duration) -> Request<PeerRequest> {
        let frame = Some(proto::seal(encode(question)));
        self.request(PeerRequest { to: Some(self.to.clone()), frame }, timeout)
    }

    fn request<M>(&self, message: M, timeout: Duration) -> Request<M> {
        let mut request = Request::new(message);
        request.set_timeout(timeout);
        request
    }

    fn unanswered(&self, why: &dyn fmt::Display) -> Unanswered {
        Unanswered(format!("{}: {why}", self.name))
    }

    /// An answer of one message.
    async fn short<R: Record>(
        &self,
        timeout: Duration,
        call: impl Future<Output = Result<Response<PeerReply>, Status>>,
    ) -> Result<R, Unanswered> {
        let read = async {
            let called = tokio::time::timeout(timeout, call).await.map_err(|_| ReadError::Late)?;
            let payload = proto::open(called?.into_inner().frame, MESSAGE_BYTES_MAX)?;
            Ok::<R, ReadError>(decode(&payload)?)
        };
        read.await.map_err(|error| self.unanswered(&error))
    }

    /// The head of an answer of many messages, and the rest of it.
    async fn stream<H: Record>(
        self: Arc<Link>,
        call: impl Future<Output = Result<Response<Streaming<PeerReply>>, Status>>,
    ) -> Result<(H, Reading), Unanswered> {
        let deadline = Instant::now() + self.limits.stream_timeout;
        let opened = async {
            let called = tokio::time::timeout_at(deadline, call).await.map_err(|_| ReadError::Late)?;
            let mut messages = Messages { stream: called?.into_inner(), deadline };
            let head = messages.next().await?;
            match page::read(&head)? {
                Message::Head(from) => Ok((page::finished(from)?, messages)),
                Message::Page(_) | Message::Series(_) | Message::End(_) => Err(ReadError::Unexpected),
                Message::Failed(error) => Err(ReadError::Failed(error)),
            }
        };
        match opened.await {
            Ok((head, messages)) => Ok((head, Reading { link: self, messages })),
            Err(error) => Err(self.unanswered(&error)),
        }
    }
}

/// The messages of an answer.
struct Messages {
    stream: Streaming<PeerReply>,
    deadline: Instant,
}

impl Messages {
    /// Cancel-safe: it only waits.
    async fn next(&mut self) -> Result<Bytes, ReadError> {
        let next = tokio::time::timeout_at(self.deadline, self.stream.message()).await;
        let reply = next.map_err(|_| ReadError::Late)??.ok_or(ReadError::Cut)?;
        Ok(proto::open(reply.frame, MESSAGE_BYTES_MAX)?)
    }
}

/// An answer behind its head.
pub(crate) struct Reading {
    link: Arc<Link>,
    messages: Messages,
}

impl Reading {
    /// All items, if they are not too many.
    pub(crate) async fn collect<T: Record>(mut self) -> Result<Vec<T>, Unanswered> {
        let bytes_max = self.link.limits.collected_bytes_max;
        let messages = &mut self.messages;
        let read = async {
            let (mut items, mut bytes) = (Vec::new(), 0);
            loop {
                let message = messages.next().await?;
                bytes += message.len();
                if bytes > bytes_max {
                    return Err(ReadError::TooLarge { bytes_max });
                }
                match page::read(&message)? {
                    Message::Page(from) => page::items(from, &mut items)?,
                    Message::End(count) if count == items.len() as u64 => return Ok(items),
                    Message::End(_) => return Err(ReadError::Cut),
                    Message::Failed(error) => return Err(ReadError::Failed(error)),
                    Message::Head(_) | Message::Series(_) => return Err(ReadError::Unexpected),
                }
            }
        };
        read.await.map_err(|error| self.link.unanswered(&error))
    }

    /// Series as they come.
    pub(crate) fn series(self) -> BoxStream<'static, Result<SeriesBatch, SelectError>> {
        unfold(Some((self, SeriesReader::default())), |state| async move {
            let (mut reading, mut reader) = state?;
            match reading.batch(&mut reader).await {
                Ok(Some(batch)) => Some((Ok(batch), Some((reading, reader)))),
                Ok(None) => None,
                Err(ReadError::Failed(error)) => Some((Err(error), None)),
                Err(error) => {
                    let said = format!("{} ({error})", reading.link.name);
                    Some((Err(SelectError::Unavailable(said)), None))
                }
            }
        })
        .boxed()
    }

    /// The next series that are whole; `None` at the end.
    async fn batch(&mut self, reader: &mut SeriesReader) -> Result<Option<SeriesBatch>, ReadError> {
        loop {
            let message = self.messages.next().await?;
            match page::read(&message)? {
                Message::Series(from) => {
                    let batch = reader.page(from)?;
                    if !batch.is_empty() {
                        return Ok(Some(batch));
                    }
                }
                Message::End(count) => {
                    reader.end(count)?;
                    return Ok(None);
                }
                Message::Failed(error) => return Err(ReadError::Failed(error)),
                Message::Head(_) | Message::Page(_) => return Err(ReadError::Unexpected),
            }
        }
    }
}
