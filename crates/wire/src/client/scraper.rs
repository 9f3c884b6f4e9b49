//! A scraper that lives in another process.

use std::sync::Arc;

use bytes::Bytes;
use peer::{Answer, ScrapeState, ScrapingNode};
use proto::v1::scraper_client::ScraperClient;
use tonic::transport::Channel;

use super::Link;
use crate::MESSAGE_BYTES_MAX;

/// Calls the service `Scraper` of one node.
#[derive(Clone)]
pub(crate) struct RemoteScraper(pub(crate) Arc<Link>);

fn client(link: &Link) -> ScraperClient<Channel> {
    ScraperClient::new(link.channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
}

impl ScrapingNode for RemoteScraper {
    fn ask(&self, path: String, query: String) -> Answer<ScrapeState> {
        let link = self.0.clone();
        Box::pin(async move {
            let request = link.ask(&(path, query), link.limits.stream_timeout);
            let mut client = client(&link);
            let (_, reading) = link.clone().stream::<bool>(client.ask(request)).await?;
            let pieces: Vec<Bytes> = reading.collect().await?;
            String::from_utf8(pieces.concat()).map_err(|_| link.unanswered(&"the answer is no text"))
        })
    }
}
