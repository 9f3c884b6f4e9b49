//! The service `Store`: blocks for readers.

use std::sync::Arc;

use model::{TenantId, TimeRange};
use peer::{LabelQuestion, Store, StoreSelected};
use proto::v1::store_server::{Store as StoreRpc, StoreServer};
use proto::v1::{PeerReply, PeerRequest};
use replication::manifest::BlockName;
use storage::SelectRequest;
use tonic::{Request, Response, Status};

use super::{Gate, Own, ReplyStream};
use crate::MESSAGE_BYTES_MAX;
use crate::page::{messages, series_messages};

/// Serves a [`Store`].
pub struct StoreService {
    gate: Gate,
    store: Arc<dyn Store>,
}

impl StoreService {
    /// The service of this node.
    pub fn server(own: Own, store: Arc<dyn Store>) -> StoreServer<StoreService> {
        StoreServer::new(StoreService { gate: Gate::new(own), store })
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
    }
}

#[tonic::async_trait]
impl StoreRpc for StoreService {
    type SelectStream = ReplyStream;
    type LabelsStream = ReplyStream;
    type IndexStream = ReplyStream;

    async fn select(&self, request: Request<PeerRequest>) -> Result<Response<ReplyStream>, Status> {
        let (entered, (blocks, question)) = self.gate.enter::<(Vec<BlockName>, SelectRequest)>(request)?;
        let StoreSelected { served, series } = entered.wait(self.store.select(blocks, question)).await?;
        Ok(entered.stream(series_messages(&served, series)))
    }

    async fn labels(&self, request: Request<PeerRequest>) -> Result<Response<ReplyStream>, Status> {
        let (entered, (blocks, question)) = self.gate.enter::<(Vec<BlockName>, LabelQuestion)>(request)?;
        let labels = entered.wait(self.store.labels(blocks, question)).await?;
        Ok(entered.stream(messages(&labels.served, labels.values)))
    }

    async fn manifest(&self, request: Request<PeerRequest>) -> Result<Response<PeerReply>, Status> {
        let (entered, (tenant, name)) = self.gate.enter::<(TenantId, String)>(request)?;
        entered.short(self.store.manifest(tenant, name)).await
    }

    async fn index(&self, request: Request<PeerRequest>) -> Result<Response<ReplyStream>, Status> {
        let (entered, (tenant, range)) = self.gate.enter::<(TenantId, TimeRange)>(request)?;
        let index = entered.wait(self.store.index(tenant, range)).await?;
        Ok(entered.stream(messages(&index.age, index.entries)))
    }
}
