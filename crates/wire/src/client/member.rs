//! A member of a group that lives in another process.

use std::collections::BTreeMap;
use std::sync::Arc;

use batch::Batch;
use cluster::Replica as ReplicaId;
use model::{Matcher, Metadata, TenantId, TimeRange, TimestampMs};
use peer::{Answer, Exemplars, Fetch, Fetched, LabelQuestion, Labelled, Member, Selected, Unanswered};
use proto::v1::ingester_client::IngesterClient;
use proto::v1::{Frame, PushRequest};
use replication::replica::{ListReply, PushReply, ReadReply, SealReply};
use replication::{Entry, Position};
use storage::SelectRequest;
use tonic::transport::Channel;

use super::Link;
use crate::MESSAGE_BYTES_MAX;
use crate::entries::{Named, Told};
use crate::record::{PushSaid, merge_neighbours};

/// Calls the service `Ingester` of one replica. Clones share what they know.
#[derive(Clone)]
pub(crate) struct RemoteMember(Arc<Remote>);

struct Remote {
    link: Arc<Link>,
    told: Told,
}

impl RemoteMember {
    pub(crate) fn new(link: Arc<Link>) -> RemoteMember {
        RemoteMember(Arc::new(Remote { link, told: Told::default() }))
    }

    fn link(&self) -> Arc<Link> {
        self.0.link.clone()
    }
}

fn client(link: &Link) -> IngesterClient<Channel> {
    IngesterClient::new(link.channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
}

impl Remote {
    async fn push(&self, entry: Entry, batch: Batch) -> Result<PushReply, Unanswered> {
        let (named, told) = self.told.name(&entry);
        let batch = proto::seal(batch.bytes().clone());
        let mut said = self.push_once(&named, !told, batch.clone()).await?;
        if said == PushSaid::SendEntry && told {
            // It was started anew, or has forgotten.
            self.told.learn(named.name, false);
            said = self.push_once(&named, true, batch).await?;
        }
        match said {
            PushSaid::Replied(reply) => {
                self.told.learn(named.name, true);
                Ok(reply)
            }
            PushSaid::SendEntry => Err(self.link.unanswered(&"asks for an entry that it was sent")),
        }
    }

    async fn push_once(&self, named: &Named, with_entry: bool, batch: Frame) -> Result<PushSaid, Unanswered> {
        let request = PushRequest {
            to: Some(self.link.to.clone()),
            group: named.name.group,
            generation: named.name.generation,
            entry_crc32c: named.name.crc32c,
            entry: with_entry.then(|| named.frame.clone()),
            batch: Some(batch),
        };
        let timeout = self.link.limits.push_timeout;
        let request = self.link.request(request, timeout);
        self.link.short(timeout, client(&self.link).push(request)).await
    }
}

impl Member for RemoteMember {
    fn push(&self, entry: Entry, batch: Batch) -> Answer<PushReply> {
        let remote = self.0.clone();
        Box::pin(async move { remote.push(entry, batch).await })
    }

    fn list(&self, puller: ReplicaId, entry: Entry, after: Position) -> Answer<ListReply> {
        let link = self.link();
        Box::pin(async move {
            let timeout = link.limits.short_timeout;
            let request = link.ask(&(puller, entry, after), timeout);
            link.short(timeout, client(&link).list(request)).await
        })
    }

    fn fetch(&self, fetch: Fetch) -> Answer<Option<Fetched>> {
        let link = self.link();
        Box::pin(async move {
            let request = link.ask(&fetch, link.limits.stream_timeout);
            let mut client = client(&link);
            let (batch_count, reading) = link.clone().stream::<Option<usize>>(client.fetch(request)).await?;
            let mut batches: Vec<Batch> = reading.collect().await?;
            let Some(batch_count) = batch_count else { return Ok(None) };
            if batch_count > batches.len() {
                return Err(link.unanswered(&"fewer batches than it says"));
            }
            let definitions = batches.split_off(batch_count);
            Ok(Some(Fetched { batches, definitions }))
        })
    }

    fn seal(&self, entry: Entry, start: TimestampMs) -> Answer<SealReply> {
        let link = self.link();
        Box::pin(async move {
            let timeout = link.limits.short_timeout;
            let request = link.ask(&(entry, start), timeout);
            link.short(timeout, client(&link).seal(request)).await
        })
    }

    fn select(&self, entry: Entry, request: SelectRequest) -> Answer<Selected> {
        let link = self.link();
        Box::pin(async move {
            let request = link.ask(&(entry, request), link.limits.stream_timeout);
            let mut client = client(&link);
            let (reply, reading) = link.stream::<ReadReply>(client.select(request)).await?;
            Ok(Selected { reply, series: reading.series() })
        })
    }

    fn labels(&self, entry: Entry, question: LabelQuestion) -> Answer<Labelled> {
        let link = self.link();
        Box::pin(async move {
            let request = link.ask(&(entry, question), link.limits.stream_timeout);
            let mut client = client(&link);
            let (reply, reading) = link.stream::<ReadReply>(client.labels(request)).await?;
            Ok(Labelled { reply, values: reading.collect().await? })
        })
    }

    fn exemplars(&self, tenant: TenantId, range: TimeRange, sets: Vec<Vec<Matcher>>) -> Answer<Vec<Exemplars>> {
        let link = self.link();
        Box::pin(async move {
            let request = link.ask(&(tenant, range, sets), link.limits.stream_timeout);
            let mut client = client(&link);
            let (_, reading) = link.stream::<bool>(client.exemplars(request)).await?;
            reading.collect().await.map(merge_neighbours)
        })
    }

    fn metadata(&self, tenant: TenantId) -> Answer<BTreeMap<String, Metadata>> {
        let link = self.link();
        Box::pin(async move {
            let request = link.ask(&tenant, link.limits.stream_timeout);
            let mut client = client(&link);
            let (_, reading) = link.stream::<bool>(client.metadata(request)).await?;
            let metadata: Vec<(String, Metadata)> = reading.collect().await?;
            Ok(metadata.into_iter().collect())
        })
    }
}
