//! The service `Scraper`: what a scraper says of its targets.

use std::sync::Arc;

use bytes::Bytes;
use peer::ScrapingNode;
use proto::v1::PeerRequest;
use proto::v1::scraper_server::{Scraper, ScraperServer};
use tonic::{Request, Response, Status};

use super::{Gate, Own, ReplyStream};
use crate::MESSAGE_BYTES_MAX;
use crate::page::messages;

/// Pieces in which a page goes out.
const PIECE_BYTES: usize = 128 << 10;

/// Serves a [`ScrapingNode`].
pub struct ScraperService {
    gate: Gate,
    scraper: Arc<dyn ScrapingNode>,
}

impl ScraperService {
    /// The service of this node.
    pub fn server(own: Own, scraper: Arc<dyn ScrapingNode>) -> ScraperServer<ScraperService> {
        ScraperServer::new(ScraperService { gate: Gate::new(own), scraper })
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
    }
}

#[tonic::async_trait]
impl Scraper for ScraperService {
    type AskStream = ReplyStream;

    async fn ask(&self, request: Request<PeerRequest>) -> Result<Response<ReplyStream>, Status> {
        let (entered, (path, query)) = self.gate.enter::<(String, String)>(request)?;
        let page = Bytes::from(entered.wait(self.scraper.ask(path, query)).await?);
        let starts = (0..page.len()).step_by(PIECE_BYTES);
        let pieces: Vec<Bytes> = starts.map(|at| page.slice(at..page.len().min(at + PIECE_BYTES))).collect();
        Ok(entered.stream(messages(&true, pieces)))
    }
}
