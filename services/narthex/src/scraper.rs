//! `narthex scraper`: discovers targets and scrapes its share of them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ::scraper::{Limits, Scraper as Service, Sharing};
use anyhow::Context;
use clap::Args;
use cluster::Role;
use tonic::service::Routes;
use tracing::warn;
use wire::ScraperService;

use crate::all::{scrape_threads, scraper_outside};
use crate::configured::{Configured, Source, Users};
use crate::distributor::{placed, writer};
use crate::lifecycle;
use crate::node::{self, Kind, Node, Serving};
use crate::node_flags::NodeFlags;

/// A scraper joins when it knows its targets; what is discovered later than this is scraped from then on.
const DISCOVERY_PATIENCE: Duration = Duration::from_secs(10);

/// Flags of `narthex scraper`.
#[derive(Args, Debug, Clone)]
pub(crate) struct Scraper {
    #[command(flatten)]
    pub(crate) node: NodeFlags,
    /// Configuration in the format of prometheus.yml; the same for all scrapers.
    #[arg(long = "config.file", value_name = "FILE", default_value = "prometheus.yml")]
    pub(crate) config_file: PathBuf,
    /// Allow POST /-/reload and /-/quit.
    #[arg(long = "web.enable-lifecycle")]
    pub(crate) enable_lifecycle: bool,
}

/// Runs until a signal to stop.
pub(crate) fn run(flags: Scraper) -> anyhow::Result<()> {
    let kind = Kind { role: Role::Scraper, has_disk: false, stays: false };
    node::block_on(node::run(kind, flags.node.clone(), async |node| serve_role(node, &flags).await))
}

async fn serve_role(node: &Node, flags: &Scraper) -> anyhow::Result<Serving> {
    let configured = Configured::load(Source { file: flags.config_file.clone(), retention: None }, &node.metrics)?;
    let writer = writer(node, &configured);
    let limits = Limits { threads: scrape_threads(), ..Limits::default() };
    let sharing = Sharing { me: node.own.replica.node.clone(), map: node.map.clone() };
    let scraper = Service::of_cluster(writer.clone(), scraper_outside(), limits, &node.metrics, sharing);
    let scraper = Arc::new(scraper.context("start the scraper")?);
    configured.start(Users { writer: Some(writer), scraper: Some(scraper.clone()) }).await?;
    if tokio::time::timeout(DISCOVERY_PATIENCE, scraper.discovered()).await.is_err() {
        warn!("discovery of some jobs takes long; their targets come later");
    }
    drop(tokio::spawn(configured.clone().reload_on_hangup(node.stopped.clone())));
    let mut services = Routes::builder();
    services.add_service(ScraperService::server(node.own.clone(), scraper.clone()));
    Ok(Serving {
        router: lifecycle::router(configured, node.quit.clone(), flags.enable_lifecycle),
        services,
        hindrances: placed(node.map.clone()),
        // The others need until they know, and an interval more.
        wind_down: Box::pin(async move {
            scraper.leave().await;
            Ok(())
        }),
        ..Serving::nothing()
    })
}
