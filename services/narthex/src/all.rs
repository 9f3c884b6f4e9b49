//! `narthex all`: every role in one process, on one screen.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use bucket::{Blocks, Bucket};
use cluster::ClusterMap;
use distributor::Distributor;
use httpclient::EnvironmentProxy;
use ingester::{Closer, Identity, Ingester, Sync};
use model::TenantId;
use promql::{engine, features};
use querier::{ActiveQueries, Api, ApiOptions, ApiSources, Evaluator};
use regexp::Regexp;
use scraper::Scraper;
use server::{ComputePool, Metrics, Server, Web, clock};
use storage::Union;
use tokio::sync::watch;
use tracing::{error, info, warn};
use writer::Writer;

use crate::data_dir::DataDir;
use crate::flags::{All, WalSync};
use crate::front::Front;
use crate::state::{Running, State};
use crate::{configuration, control_plane, data_dir, process_metrics};

/// How often a head snapshot is due in any case.
const SNAPSHOT_INTERVAL: Duration = Duration::from_secs(15 * 60);
/// How often the log is synced with `--wal.sync=interval`.
const SYNC_INTERVAL: Duration = Duration::from_millis(100);
/// How often ranges are closed, blocks looked for and expired, and mapped pages given back.
const MAINTENANCE_INTERVAL: Duration = Duration::from_secs(30);
/// Computations waiting for a thread.
const COMPUTE_QUEUE_MAX: usize = 256;

/// Runs until a signal to stop.
pub(crate) fn run(flags: &All) -> anyhow::Result<()> {
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        bail!("another TLS provider is installed");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start runtime")?;
    runtime.block_on(serve(flags))
}

async fn serve(flags: &All) -> anyhow::Result<()> {
    let metrics = Metrics::default();
    let (stop, stopped) = watch::channel(false);
    // First of all what a user may have got wrong.
    let config = configuration::load(flags)?;
    let data = data_dir::open(&flags.storage_path)?;
    let bucket = open_bucket(flags)?;
    let listener = listen(flags).await?;
    let front = Front::default();
    let http = tokio::spawn(listener.serve(front.router(), stopped.clone()));

    let control_plane = control_plane::open(&flags.storage_path, data.incarnation).await?;
    let (group, generation) = control_plane::group(&control_plane)?;
    let ingester = open_ingester(flags, &config, generation).await?;
    control_plane::record_losses(&control_plane, &ingester, clock::now()).await?;
    let limits = writer::Limits { window: configuration::window(&config), ..writer::Limits::default() };
    let writer = Arc::new(Writer::new(ingester.clone(), group.0, generation, rand::random(), limits));
    let blocks = open_blocks(bucket.clone()).await?;
    let limits = scraper::Limits { threads: scrape_threads(), ..scraper::Limits::default() };
    let scraper = Scraper::new(writer.clone(), scraper_outside(), limits, &metrics).context("start the scraper")?;
    let scraper = Arc::new(scraper);
    let distributor = Distributor::new(writer.clone(), distributor::Limits::default(), &metrics);
    process_metrics::register(&metrics, &ingester);
    let state = Arc::new(State::new(flags, config, scraper.clone(), writer, ingester.clone(), stop.clone(), &metrics));
    let evaluator = evaluator(flags, &ingester, &blocks)?;
    let api = Arc::new(Api::new(evaluator, sources(&state, metrics), api_options(flags, &state)?));

    front.open(api.router().merge(distributor.router()));
    let snapshots = tokio::spawn(ingester.clone().snapshot_loop(SNAPSHOT_INTERVAL, stopped.clone()));
    let closer = closer(flags, &ingester, bucket, &blocks, &data, &control_plane.map().borrow())?;
    let maintenance = tokio::spawn(maintain(closer, state.clone(), blocks, stopped.clone()));
    state.start().await?;
    state.set_ready();
    info!("ready");

    wait_to_stop(&state, stopped).await?;
    info!("stopping");
    stop.send_replace(true);
    scraper.stop().await;
    http.await?;
    snapshots.await?;
    maintenance.await?;
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

async fn open_ingester(flags: &All, config: &config::Config, generation: u64) -> anyhow::Result<Arc<Ingester>> {
    let exemplars_max = config.storage.max_exemplars.map_or(0, |n| usize::try_from(n).unwrap_or(0));
    let config = ingester::Config {
        exemplars_max,
        generation,
        sync: match flags.wal_sync {
            WalSync::Commit => Sync::EveryCommit,
            WalSync::Interval => Sync::Interval(SYNC_INTERVAL),
        },
        partition_count: control_plane::PARTITION_COUNT,
        ..ingester::Config::new(flags.storage_path.clone())
    };
    let started = tokio::time::Instant::now();
    let ingester = tokio::task::spawn_blocking(move || Ingester::open(config)).await?.context("open ingester")?;
    let r = ingester.recovery();
    let elapsed_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    info!(records = r.records, snapshot = r.snapshot, last = r.last, elapsed_ms, "log replayed");
    if r.torn_bytes > 0 {
        warn!(
            bytes = r.torn_bytes,
            "log ended in bytes that form no record; they were dropped, nobody was told of them"
        );
    }
    for (first, last) in &r.lost {
        error!(first, last, records = last - first + 1, "log is damaged: these records are lost");
    }
    for damaged in &r.damaged_snapshots {
        error!(snapshot = damaged, "head snapshot is damaged; an older one is used");
    }
    if r.refused_records > 0 || r.applied != Default::default() {
        error!(records = r.refused_records, applied = ?r.applied, "log held what cannot be applied");
    }
    Ok(ingester)
}

fn open_bucket(flags: &All) -> anyhow::Result<Bucket> {
    let Some(file) = &flags.objstore_config_file else {
        return Ok(Bucket::local(&flags.storage_path.join("bucket"))?);
    };
    let text = std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    let parsed = config::parse_object_store(&text).with_context(|| format!("parse {}", file.display()))?;
    match parsed.bucket {
        config::object_store::Bucket::Filesystem { directory } => {
            Ok(Bucket::local(&std::path::Path::new(&directory).join(parsed.prefix))?)
        }
        config::object_store::Bucket::S3(s3) => {
            for key in &s3.ignored {
                warn!(key, file = %file.display(), "this key of the object store is not acted on");
            }
            Bucket::s3(&s3, &parsed.prefix, &configuration::variable).with_context(|| format!("use {}", file.display()))
        }
    }
}

async fn open_blocks(bucket: Bucket) -> anyhow::Result<Arc<Blocks>> {
    let is_remote = bucket.is_remote();
    let blocks = Arc::new(Blocks::new(bucket));
    match blocks.refresh().await {
        // Taking samples does not wait for a bucket that is out of reach. Answers say what they lack until it is listed.
        Err(e) if is_remote => error!(error = format!("{:#}", anyhow::Error::from(e)), "list blocks failed"),
        done => done?,
    }
    Ok(blocks)
}

fn closer(
    flags: &All,
    ingester: &Arc<Ingester>,
    bucket: Bucket,
    blocks: &Arc<Blocks>,
    data: &DataDir,
    map: &ClusterMap,
) -> anyhow::Result<Closer> {
    let cluster = map.cluster().context("the cluster map has no cluster id")?;
    let group = map.groups().first().context("the cluster map has no group")?;
    let identity = Identity {
        cluster: format!("{:032x}", cluster.0),
        group: group.id().0,
        generation: group.newest().number.0,
        incarnation: format!("{:016x}", data.incarnation.0),
    };
    let scratch = flags.storage_path.join("cut");
    Ok(Closer::new(ingester.clone(), bucket, blocks.clone(), scratch, identity))
}

fn evaluator(flags: &All, ingester: &Arc<Ingester>, blocks: &Arc<Blocks>) -> anyhow::Result<Evaluator> {
    let store = Arc::new(Union::new(vec![ingester.clone(), blocks.clone()]));
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let pool = ComputePool::start(threads, COMPUTE_QUEUE_MAX).context("start compute pool")?;
    let limits = querier::Limits { concurrency_max: flags.query_max_concurrency, ..querier::Limits::default() };
    let (active, unfinished) =
        ActiveQueries::open(&flags.storage_path, limits.concurrency_max).context("open queries.active")?;
    if let Some(queries) = unfinished {
        info!(queries, "these queries did not finish in the last run");
    }
    Ok(Evaluator::new(store, pool, limits).with_active_queries(active))
}

/// Half of the cores: one takes in about 800,000 samples a second, and what is scraped is to be stored and asked for, too.
fn scrape_threads() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().div_ceil(2))
}

fn scraper_outside() -> scraper::Outside {
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

fn sources(state: &Arc<State>, metrics: Metrics) -> ApiSources {
    ApiSources {
        status: state.clone(),
        lifecycle: Arc::new(Running(state.clone())),
        targets: Some(state.clone()),
        metadata: Some(state.clone()),
        exemplars: Some(state.clone()),
        metrics,
    }
}

fn api_options(flags: &All, state: &Arc<State>) -> anyhow::Result<ApiOptions> {
    for feature in flags.enable_feature.iter().filter(|f| !features::is_known(f)) {
        warn!(feature, "this feature of --enable-feature is not supported and does nothing");
    }
    let (parse, engine) = features::options(|feature| flags.enable_feature.iter().any(|f| f == feature));
    let configured = state.clone();
    Ok(ApiOptions {
        query_timeout: flags.query_timeout,
        lookback: flags.lookback_delta,
        subquery_step: Arc::new(move || configured.config().global.evaluation_interval),
        query_limits: engine::Limits { samples_max: flags.query_max_samples, ..Default::default() },
        engine,
        parse,
        cors_origin: Regexp::matcher(&flags.cors_origin).context("parse --web.cors.origin")?,
        lifecycle_enabled: flags.enable_lifecycle,
        ..ApiOptions::default()
    })
}

/// Closes ranges, finds and expires blocks, gives mapped pages back. Errors are told and tried again the next time.
async fn maintain(closer: Closer, state: Arc<State>, blocks: Arc<Blocks>, mut stop: watch::Receiver<bool>) {
    loop {
        let config = state.config();
        let now = clock::now();
        let window = configuration::window(&config);
        if let Err(e) = closer.run(now, window).await {
            error!(error = format!("{:#}", anyhow::Error::from(e)), "close range failed");
        }
        if let Err(e) = blocks.refresh().await {
            warn!(error = format!("{:#}", anyhow::Error::from(e)), "list blocks failed");
        }
        if let Some(retention) = configuration::retention(&config)
            && let Err(e) = closer.expire(now - retention).await
        {
            warn!(error = format!("{:#}", anyhow::Error::from(e)), "expire blocks failed");
        }
        closer.drop_resident();
        tokio::select! {
            // Cancel-safe because only time and the stop signal are awaited.
            () = tokio::time::sleep(MAINTENANCE_INTERVAL) => {}
            () = state.reloaded() => {}
            () = stopped(&mut stop) => return,
        }
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    drop(stop.wait_for(|s| *s).await);
}

/// Resolves when a signal or `/-/quit` says so. SIGHUP reloads.
async fn wait_to_stop(state: &Arc<State>, mut stop: watch::Receiver<bool>) -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut hang_up) = (signal(SignalKind::terminate())?, signal(SignalKind::hangup())?);
    loop {
        tokio::select! {
            // Cancel-safe because signals are only waited for.
            interrupted = tokio::signal::ctrl_c() => return Ok(interrupted?),
            _ = terminate.recv() => return Ok(()),
            () = stopped(&mut stop) => return Ok(()),
            _ = hang_up.recv() => {
                // Said and counted inside.
                drop(state.reload_now().await);
            }
        }
    }
}
