//! A store that lives in another process.

use std::sync::Arc;
use std::time::Duration;

use model::{TenantId, TimeRange};
use peer::{Answer, Index, LabelQuestion, ManifestAnswer, Store, StoreLabels, StoreSelected};
use proto::v1::store_client::StoreClient;
use replication::manifest::BlockName;
use storage::SelectRequest;
use tonic::transport::Channel;

use super::Link;
use crate::MESSAGE_BYTES_MAX;

/// Calls the service `Store` of one node.
#[derive(Clone)]
pub(crate) struct RemoteStore(pub(crate) Arc<Link>);

fn client(link: &Link) -> StoreClient<Channel> {
    StoreClient::new(link.channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
}

impl Store for RemoteStore {
    fn select(&self, blocks: Vec<BlockName>, request: SelectRequest) -> Answer<StoreSelected> {
        let link = self.0.clone();
        Box::pin(async move {
            let request = link.ask(&(blocks, request), link.limits.stream_timeout);
            let mut client = client(&link);
            let (served, reading) = link.stream::<Vec<BlockName>>(client.select(request)).await?;
            Ok(StoreSelected { served, series: reading.series() })
        })
    }

    fn labels(&self, blocks: Vec<BlockName>, question: LabelQuestion) -> Answer<StoreLabels> {
        let link = self.0.clone();
        Box::pin(async move {
            let request = link.ask(&(blocks, question), link.limits.stream_timeout);
            let mut client = client(&link);
            let (served, reading) = link.stream::<Vec<BlockName>>(client.labels(request)).await?;
            Ok(StoreLabels { served, values: reading.collect().await? })
        })
    }

    fn manifest(&self, tenant: TenantId, name: String) -> Answer<ManifestAnswer> {
        let link = self.0.clone();
        Box::pin(async move {
            let timeout = link.limits.short_timeout;
            let request = link.ask(&(tenant, name), timeout);
            link.short(timeout, client(&link).manifest(request)).await
        })
    }

    fn index(&self, tenant: TenantId, range: TimeRange) -> Answer<Index> {
        let link = self.0.clone();
        Box::pin(async move {
            let request = link.ask(&(tenant, range), link.limits.stream_timeout);
            let mut client = client(&link);
            let (age, reading) = link.stream::<Duration>(client.index(request)).await?;
            Ok(Index { entries: reading.collect().await?, age })
        })
    }
}
