//! `narthex all`: every role in one process, on one screen.

use std::sync::Arc;

use anyhow::Context;
use distributor::Distributor;
use httpclient::EnvironmentProxy;
use ingester::Closer;
use model::{DurationMs, TenantId};
use querier::{Api, ApiSources};
use scraper::Scraper;
use server::{Metrics, Server, Web, clock};
use storage::Union;
use tokio::sync::watch;
use tracing::info;
use writer::Writer;

use crate::configured::{Configured, Source, Users};
use crate::flags::All;
use crate::front::Front;
use crate::local_members::LocalMembers;
use crate::state::{InProcess, Running, State};
use crate::storage_parts::{self, Place, SNAPSHOT_INTERVAL, stopped};
use crate::{configuration, control_plane, data_dir, node, process_metrics, writer_metrics};

/// Runs until a signal to stop.
pub(crate) fn run(flags: &All) -> anyhow::Result<()> {
    node::block_on(serve(flags))
}

async fn serve(flags: &All) -> anyhow::Result<()> {
    let metrics = Metrics::default();
    let (stop, stopped) = watch::channel(false);
    // First of all what a user may have got wrong.
    let source = Source { file: flags.config_file.clone(), retention: flags.retention_time };
    let configured = Configured::load(source, &metrics)?;
    let data = data_dir::open(&flags.storage_path)?;
    let bucket = storage_parts::open_bucket(flags.objstore_config_file.as_deref(), &flags.storage_path)?;
    let listener = listen(flags).await?;
    let front = Front::default();
    let http = tokio::spawn(listener.serve(front.router(), stopped.clone()));

    let control_plane = control_plane::open(&flags.storage_path, data.incarnation).await?;
    let place = Place {
        storage: &flags.storage_path,
        replica: control_plane::replica(data.incarnation)?,
        entry: control_plane::group(&control_plane)?,
        partition_count: control_plane::PARTITION_COUNT,
        wal_sync: flags.wal_sync,
        log_bytes_max: None,
    };
    let ingester = storage_parts::open_ingester(place, &configured).await?;
    control_plane::record_losses(&control_plane, &ingester, clock::now()).await?;
    let members = Arc::new(LocalMembers::new(&ingester));
    let limits = writer_limits(configured.window());
    let writer = Arc::new(Writer::new(rand::random(), control_plane.map(), members.clone(), limits));
    let blocks = storage_parts::open_blocks(bucket.clone()).await?;
    let limits = scraper::Limits { threads: scrape_threads(), ..scraper::Limits::default() };
    let scraper = Scraper::new(writer.clone(), scraper_outside(), limits, &metrics).context("start the scraper")?;
    let scraper = Arc::new(scraper);
    let distributor = Distributor::new(writer.clone(), distributor::Limits::default(), &metrics);
    process_metrics::register(&metrics, &ingester);
    writer_metrics::register(&metrics, &writer);
    let state = State::new(flags.as_map(), configured.clone(), Some(ingester.clone()), stop.clone());
    let state = Arc::new(state);
    let in_process = Arc::new(InProcess { scraper: scraper.clone(), ingester: ingester.clone() });
    let store = Arc::new(Union::new(vec![ingester.clone(), blocks.clone()]));
    let sources = sources(&state, &in_process, metrics);
    let api = Api::new(
        flags.query.evaluator(store, Some(&flags.storage_path))?,
        sources,
        flags.query.api_options(&configured)?,
    );

    front.open(Arc::new(api).router().merge(distributor.router()));
    let cluster = control_plane.map().borrow().cluster().context("the cluster map has no cluster id")?;
    let scratch = flags.storage_path.join("cut");
    let closer = Closer::new(ingester.clone(), members, bucket, blocks.clone(), scratch, cluster);
    let background = [
        tokio::spawn(ingester.clone().snapshot_loop(SNAPSHOT_INTERVAL, stopped.clone())),
        tokio::spawn(storage_parts::maintain(closer, configured.clone(), blocks, true, stopped.clone())),
        tokio::spawn(configured.clone().reload_on_hangup(stopped.clone())),
    ];
    configured.start(Users { scraper: Some(scraper.clone()), writer: Some(writer) }).await?;
    state.set_ready();
    info!("ready");

    wait_to_stop(stopped).await?;
    info!("stopping");
    stop.send_replace(true);
    scraper.stop().await;
    http.await?;
    for task in background {
        task.await?;
    }
    tokio::task::spawn_blocking(move || ingester.stop()).await?;
    control_plane.shutdown().await;
    drop(data);
    info!("stopped");
    Ok(())
}

async fn listen(flags: &All) -> anyhow::Result<Server> {
    let limits = server::Limits {
        connections_max: flags.max_connections,
        head_timeout: flags.read_timeout,
        ..server::Limits::default()
    };
    let web = match flags.web_config_file.as_deref().filter(|file| !file.as_os_str().is_empty()) {
        None => None,
        Some(file) => Some(Web::open(file).context("use --web.config.file")?),
    };
    let tls = web.as_ref().is_some_and(Web::has_tls);
    let mut listener = Server::bind(&flags.listen_address, None, limits).await?;
    if let Some(web) = web {
        listener = listener.with_web(web);
    }
    info!(address = %listener.address()?, tls, "listening");
    Ok(listener)
}

/// The only replica may hold up all that is in flight: there is nobody else to go on with.
fn writer_limits(window: DurationMs) -> writer::Limits {
    let mut in_flight = replication::writer::Limits::default();
    in_flight.replica_bytes_max = in_flight.in_flight_bytes_max;
    writer::Limits { window, in_flight, ..writer::Limits::default() }
}

/// Half of the cores: one takes in about 800,000 samples a second, and what is scraped is to be stored and asked for, too.
pub(crate) fn scrape_threads() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().div_ceil(2))
}

pub(crate) fn scraper_outside() -> scraper::Outside {
    let variable = |upper: &str, lower: &str| {
        configuration::variable(upper).or_else(|| configuration::variable(lower)).unwrap_or_default()
    };
    scraper::Outside {
        tenant: TenantId::anonymous(),
        user_agent: format!("Narthex/{}", env!("CARGO_PKG_VERSION")),
        environment: EnvironmentProxy {
            http: variable("HTTP_PROXY", "http_proxy"),
            https: variable("HTTPS_PROXY", "https_proxy"),
            no_proxy: variable("NO_PROXY", "no_proxy"),
        },
    }
}

fn sources(state: &Arc<State>, in_process: &Arc<InProcess>, metrics: Metrics) -> ApiSources {
    ApiSources {
        status: state.clone(),
        lifecycle: Arc::new(Running(state.clone())),
        targets: Some(in_process.clone()),
        metadata: Some(in_process.clone()),
        exemplars: Some(in_process.clone()),
        metrics,
    }
}

/// Resolves when a signal or `/-/quit` says so.
async fn wait_to_stop(mut stop: watch::Receiver<bool>) -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        // Cancel-safe because signals are only waited for.
        interrupted = tokio::signal::ctrl_c() => Ok(interrupted?),
        _ = terminate.recv() => Ok(()),
        () = stopped(&mut stop) => Ok(()),
    }
}
