//! `narthex all`: every role in one process, on one screen.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::routing::get;
use distributor::Distributor;
use ingester::{Ingester, Sync};
use server::{Metrics, Server};
use tokio::sync::watch;
use tracing::info;
use writer::Writer;

use crate::flags::{All, WalSync};
use crate::{control_plane, data_dir};

/// How often a head snapshot is due in any case.
const SNAPSHOT_INTERVAL: Duration = Duration::from_secs(15 * 60);
/// How often the log is synced with `--wal.sync=interval`.
const SYNC_INTERVAL: Duration = Duration::from_millis(100);

/// Runs until a signal to stop.
pub(crate) fn run(flags: &All) -> anyhow::Result<()> {
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        anyhow::bail!("another TLS provider is installed");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start runtime")?;
    runtime.block_on(serve(flags))
}

async fn serve(flags: &All) -> anyhow::Result<()> {
    let metrics = Metrics::default();
    let (stop, stopped) = watch::channel(false);

    let data = data_dir::open(&flags.storage_path)?;
    let control_plane = control_plane::open(&flags.storage_path, data.incarnation).await?;
    let ingester = open_ingester(flags).await?;
    let snapshots = tokio::spawn(ingester.clone().snapshot_loop(SNAPSHOT_INTERVAL, stopped.clone()));
    let writer = Arc::new(Writer::new(ingester.clone(), 1, 1, rand::random(), writer::Limits::default()));
    let distributor = Distributor::new(writer.clone(), distributor::Limits::default(), &metrics);

    let router =
        Router::new().route("/-/ready", get(|| async { "Prometheus Server is Ready.\n" })).merge(distributor.router());
    let limits = server::Limits { connections_max: flags.max_connections, ..server::Limits::default() };
    let listener = Server::bind(&flags.listen_address, None, limits).await?;
    info!(address = %listener.address()?, "listening");
    let http = tokio::spawn(listener.serve(router, stopped));

    wait_for_signal().await?;
    info!("stopping");
    stop.send_replace(true);
    http.await?;
    snapshots.await?;
    tokio::task::spawn_blocking(move || ingester.stop()).await?;
    control_plane.shutdown().await;
    drop(data);
    info!("stopped");
    Ok(())
}

async fn open_ingester(flags: &All) -> anyhow::Result<Arc<Ingester>> {
    std::fs::create_dir_all(&flags.storage_path).with_context(|| format!("create {}", flags.storage_path.display()))?;
    let config = ingester::Config {
        sync: match flags.wal_sync {
            WalSync::Commit => Sync::EveryCommit,
            WalSync::Interval => Sync::Interval(SYNC_INTERVAL),
        },
        ..ingester::Config::new(flags.storage_path.clone())
    };
    let started = tokio::time::Instant::now();
    let ingester = tokio::task::spawn_blocking(move || Ingester::open(config)).await?.context("open ingester")?;
    info!(recovery = ?ingester.recovery(), elapsed_ms = started.elapsed().as_millis() as u64, "log replayed");
    Ok(ingester)
}

async fn wait_for_signal() -> anyhow::Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        // Cancel-safe because a signal is only waited for.
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        _ = terminate.recv() => {}
    }
    Ok(())
}
