//! `narthex ruler`: the control plane's voter as a process.

use anyhow::bail;
use clap::Args;
use cluster::LeaseTimes;
use server::Metrics;
use tokio::sync::watch;
use tracing::info;

use crate::node_flags::NodeFlags;
use crate::{data_dir, node};

/// Partitions of a cluster, fixed at its birth.
const PARTITION_COUNT: u32 = 64;

/// Flags of `narthex ruler`.
#[derive(Args, Debug, Clone)]
pub(crate) struct Ruler {
    #[command(flatten)]
    pub(crate) node: NodeFlags,
    /// Ingesters that hold each sample. Read at the cluster's birth only.
    #[arg(long = "cluster.replication-factor", value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=3))]
    pub(crate) replication_factor: u8,
    /// Ingesters to wait for before partitions are placed over them. Read at the cluster's birth only.
    #[arg(long = "cluster.bootstrap-ingesters", value_name = "N", default_value_t = 3)]
    pub(crate) bootstrap_ingesters: u32,
}

/// Runs until a signal to stop.
pub(crate) fn run(flags: &Ruler) -> anyhow::Result<()> {
    node::block_on(serve(flags))
}

async fn serve(flags: &Ruler) -> anyhow::Result<()> {
    if flags.bootstrap_ingesters < u32::from(flags.replication_factor) {
        bail!("--cluster.bootstrap-ingesters must be at least --cluster.replication-factor");
    }
    let (grpc_listen, address) = flags.node.grpc_addresses()?;
    let (server_tls, client_tls) = node::grpc_tls(&flags.node)?;
    let data = data_dir::open(&flags.node.storage_path)?;
    let http = node::listen_http(&flags.node).await?;
    let config = ::ruler::Config {
        cluster: flags.node.cluster_name.clone(),
        node: flags.node.node_id.clone(),
        zone: flags.node.zone.clone(),
        incarnation: data.incarnation,
        storage: flags.node.storage_path.clone(),
        grpc_listen,
        address,
        control_plane: flags.node.control_plane.clone(),
        replication_factor: flags.replication_factor,
        bootstrap_ingesters: flags.bootstrap_ingesters,
        partition_count: PARTITION_COUNT,
        lease_times: LeaseTimes::default(),
        server_tls,
        client_tls,
    };
    let ruler = ::ruler::Ruler::start(config, &Metrics::default()).await?;
    let (stop, stopped) = watch::channel(false);
    let http = tokio::spawn(http.serve(ruler.router(), stopped));
    node::wait_to_stop().await?;
    info!("stopping");
    ruler.stop().await;
    stop.send_replace(true);
    http.await?;
    drop(data);
    info!("stopped");
    Ok(())
}
