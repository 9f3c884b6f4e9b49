//! The service `Ingester`: a member of a group for the others.

use std::sync::Arc;

use batch::{BATCH_BYTES_MAX, Batch};
use cluster::{ClusterMap, Replica};
use model::{Matcher, TenantId, TimeRange, TimestampMs};
use peer::{Fetch, LabelQuestion, Member, Selected};
use proto::v1::ingester_server::{Ingester, IngesterServer};
use proto::v1::{PeerReply, PeerRequest, PushRequest};
use replication::replica::PushReply;
use replication::{Entry, Position};
use storage::SelectRequest;
use tokio::sync::{Semaphore, watch};
use tonic::{Request, Response, Status};

use super::{AROUND_BYTES, Gate, Own, ReplyStream, deadline, reply, within};
use crate::MESSAGE_BYTES_MAX;
use crate::entries::{EntryName, Known};
use crate::page::{messages, series_messages};
use crate::record::{PushSaid, encode, split_large};

/// Bytes of batches that the member has not answered yet; past it a push is told that there is no room.
const PUSH_BYTES_MAX: usize = 128 << 20;

/// Serves a [`Member`].
pub struct IngesterService {
    gate: Gate,
    member: Arc<dyn Member>,
    known: Known,
    room: Semaphore,
}

impl IngesterService {
    /// The service of this node. `map` spares writers to send generation entries that the node knows anyway.
    pub fn server(
        own: Own,
        member: Arc<dyn Member>,
        map: Option<watch::Receiver<Arc<ClusterMap>>>,
    ) -> IngesterServer<IngesterService> {
        let room = Semaphore::new(PUSH_BYTES_MAX);
        IngesterServer::new(IngesterService { gate: Gate::new(own), member, known: Known::new(map), room })
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
    }

    async fn take(&self, request: Request<PushRequest>) -> Result<PushSaid, Status> {
        let deadline = deadline(request.metadata());
        let PushRequest { to, group, generation, entry_crc32c: crc32c, entry, batch } = request.into_inner();
        self.gate.own.check(to.as_ref())?;
        let bytes = proto::open(batch, BATCH_BYTES_MAX)?;
        let name = EntryName { group, generation, crc32c };
        let known = match entry {
            Some(frame) => Some(self.known.take(name, frame)?),
            None => self.known.find(name),
        };
        let Some(entry) = known else { return Ok(PushSaid::SendEntry) };
        let weight = u32::try_from(bytes.len()).expect("a batch is far below 4 GiB");
        let Ok(_room) = self.room.try_acquire_many(weight) else {
            return Ok(PushSaid::Replied(PushReply::Full { limit_bytes: PUSH_BYTES_MAX }));
        };
        let batch = Batch::parse(bytes).map_err(|e| Status::invalid_argument(format!("read batch: {e}")))?;
        if batch.header().group != group {
            return Err(Status::invalid_argument("the batch is for another group than its entry"));
        }
        within(deadline, self.member.push(entry, batch)).await.map(PushSaid::Replied)
    }
}

#[tonic::async_trait]
impl Ingester for IngesterService {
    type FetchStream = ReplyStream;
    type SelectStream = ReplyStream;
    type LabelsStream = ReplyStream;
    type ExemplarsStream = ReplyStream;
    type MetadataStream = ReplyStream;

    async fn push(&self, request: Request<PushRequest>) -> Result<Response<PeerReply>, Status> {
        let said = encode(&self.take(request).await?);
        debug_assert!(said.len() < MESSAGE_BYTES_MAX - AROUND_BYTES);
        reply(said).map(Response::new)
    }

    async fn list(&self, request: Request<PeerRequest>) -> Result<Response<PeerReply>, Status> {
        let (entered, (puller, entry, after)) = self.gate.enter::<(Replica, Entry, Position)>(request)?;
        entered.short(self.member.list(puller, entry, after)).await
    }

    async fn seal(&self, request: Request<PeerRequest>) -> Result<Response<PeerReply>, Status> {
        let (entered, (entry, start)) = self.gate.enter::<(Entry, TimestampMs)>(request)?;
        entered.short(self.member.seal(entry, start)).await
    }

    async fn fetch(&self, request: Request<PeerRequest>) -> Result<Response<ReplyStream>, Status> {
        let (entered, fetch) = self.gate.enter::<Fetch>(request)?;
        let fetched = entered.wait(self.member.fetch(fetch)).await?;
        let batch_count = fetched.as_ref().map(|fetched| fetched.batches.len());
        let batches = fetched.map(|fetched| [fetched.batches, fetched.definitions].concat()).unwrap_or_default();
        Ok(entered.stream(messages(&batch_count, batches)))
    }

    async fn select(&self, request: Request<PeerRequest>) -> Result<Response<ReplyStream>, Status> {
        let (entered, (entry, question)) = self.gate.enter::<(Entry, SelectRequest)>(request)?;
        let Selected { reply, series } = entered.wait(self.member.select(entry, question)).await?;
        Ok(entered.stream(series_messages(&reply, series)))
    }

    async fn labels(&self, request: Request<PeerRequest>) -> Result<Response<ReplyStream>, Status> {
        let (entered, (entry, question)) = self.gate.enter::<(Entry, LabelQuestion)>(request)?;
        let labelled = entered.wait(self.member.labels(entry, question)).await?;
        Ok(entered.stream(messages(&labelled.reply, labelled.values)))
    }

    async fn exemplars(&self, request: Request<PeerRequest>) -> Result<Response<ReplyStream>, Status> {
        let (entered, (tenant, range, sets)) = self.gate.enter::<(TenantId, TimeRange, Vec<Vec<Matcher>>)>(request)?;
        let exemplars = entered.wait(self.member.exemplars(tenant, range, sets)).await?;
        Ok(entered.stream(messages(&true, split_large(exemplars))))
    }

    async fn metadata(&self, request: Request<PeerRequest>) -> Result<Response<ReplyStream>, Status> {
        let (entered, tenant) = self.gate.enter::<TenantId>(request)?;
        let metadata = entered.wait(self.member.metadata(tenant)).await?;
        Ok(entered.stream(messages(&true, metadata.into_iter().collect())))
    }
}
