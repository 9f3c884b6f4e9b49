//! A node of a cluster: what every role but the ruler's has in common.
//!
//! It listens for HTTP and gRPC, follows the cluster map and serves it on, joins, heartbeats, and stops in order. What a role
//! does besides is a [`Serving`], which the role makes of the [`Node`] before the node joins.

mod metrics;
mod pages;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use axum::Router;
use cluster::{ClusterMap, Incarnation, Joining, Replica, Role, Roles};
use futures::future::BoxFuture;
use membership::{Caller, Follower, Identity, MapFile, MapService, MapSource, Presence, Standing, tell_news};
use proto::{ClientTls, Dialer};
use server::{Metrics, Server, Web, clock};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, watch};
use tonic::service::{Routes, RoutesBuilder};
use tracing::{error, info, warn};
use wire::{Connections, Own};

use crate::data_dir::{self, DataDir};
use crate::front::Front;
use crate::grpc_tls;
use crate::node_flags::NodeFlags;
use pages::Pages;

/// A refusal that stands for longer than a lease is for good: a node that was killed and comes back under another address is
/// refused until its lease is over, one with a wrong cluster, zone or name always.
const REFUSAL_PATIENCE: Duration = Duration::from_secs(20);
/// For what still runs when a role has stopped.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);
/// For the control plane to hear that a node leaves; else it finds out.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections of other nodes at once.
const GRPC_CONNECTIONS_MAX: usize = 4096;

/// What a role is like as a node.
#[derive(Clone, Debug)]
pub(crate) struct Kind {
    pub(crate) role: Role,
    /// Whether there is a data directory: it is locked, has its incarnation and keeps the map. Else the incarnation is drawn
    /// at each start.
    pub(crate) has_disk: bool,
    /// Whether a node that stops is still a member, and will be back. Else it leaves.
    pub(crate) stays: bool,
}

/// A node that listens and follows the map, and has not joined yet.
pub(crate) struct Node {
    /// Cluster, name and incarnation.
    pub(crate) own: Own,
    /// The newest map, and word of each newer one. Empty until a peer or the copy on disk gave one.
    pub(crate) map: watch::Receiver<Arc<ClusterMap>>,
    /// Members, stores and scrapers of the cluster. Whoever serves one of these here says so to it (`set_own_…`).
    pub(crate) connections: Arc<Connections>,
    /// What `/metrics` shows.
    pub(crate) metrics: Metrics,
    /// Told to stop the node as a signal would.
    pub(crate) quit: Arc<Notify>,
    /// True once the node is to stop. Loops of a role end then, unless `wind_down` needs them.
    pub(crate) stopped: watch::Receiver<bool>,
}

/// Lines of the page about readiness.
pub(crate) type Remarks = Arc<dyn Fn() -> Vec<String> + Send + Sync>;
/// A step of stopping. Nothing of it happens before it is awaited.
pub(crate) type Step = BoxFuture<'static, anyhow::Result<()>>;

/// What a role does.
pub(crate) struct Serving {
    /// HTTP, besides the pages of every node (`/-/healthy`, `/-/ready`, `/metrics`, `/cluster`, `/api/v1/status/cluster`),
    /// which go before.
    pub(crate) router: Router,
    /// gRPC, besides the map.
    pub(crate) services: RoutesBuilder,
    /// Why the role cannot do its job, a line for each reason; empty where it can.
    pub(crate) hindrances: Remarks,
    /// What else is to be known of it.
    pub(crate) remarks: Remarks,
    /// After the node has left the map, while it still serves: a scraper goes on until others have taken over.
    pub(crate) wind_down: Step,
    /// When nobody is served any more.
    pub(crate) stop: Step,
}

impl Serving {
    /// Nothing besides what every node serves.
    pub(crate) fn nothing() -> Serving {
        Serving {
            router: Router::new(),
            services: Routes::builder(),
            hindrances: Arc::new(Vec::new),
            remarks: Arc::new(Vec::new),
            wind_down: Box::pin(async { Ok(()) }),
            stop: Box::pin(async { Ok(()) }),
        }
    }
}

/// Runs a future on a runtime of its own, with TLS ready for use.
pub(crate) fn block_on(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        bail!("another TLS provider is installed");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start runtime")?;
    let done = runtime.block_on(work);
    // A write that still waits for replicas waits on a thread of its own: nobody is there any more to hear how it ended.
    runtime.shutdown_timeout(SHUTDOWN_TIMEOUT);
    done
}

/// Runs a node until a signal to stop, or until the cluster refuses it for good.
pub(crate) async fn run(
    kind: Kind,
    flags: NodeFlags,
    serve_role: impl AsyncFnOnce(&Node) -> anyhow::Result<Serving>,
) -> anyhow::Result<()> {
    run_until(kind, flags, serve_role, wait_to_stop()).await
}

async fn run_until(
    kind: Kind,
    flags: NodeFlags,
    serve_role: impl AsyncFnOnce(&Node) -> anyhow::Result<Serving>,
    told: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<()> {
    // First of all what a user may have got wrong.
    let (grpc_listen, address) = flags.grpc_addresses()?;
    let (server_tls, client_tls) = grpc_tls(&flags)?;
    let data = if kind.has_disk { Some(data_dir::open(&flags.storage_path)?) } else { None };
    let http = listen_http(&flags).await?;
    let grpc = listen_grpc(&grpc_listen, server_tls).await?;
    let front = Front::default();
    let (stop, stopped) = watch::channel(false);
    let (stop_listening, listening_stopped) = watch::channel(false);
    let http = tokio::spawn(http.serve(front.router(), listening_stopped.clone()));

    let incarnation = data.as_ref().map_or_else(|| Incarnation(rand::random()), |data: &DataDir| data.incarnation);
    let joining = Joining {
        node: flags.node_id.clone(),
        roles: Roles::one(kind.role),
        zone: flags.zone.clone(),
        address,
        incarnation,
    };
    let identity = Identity { cluster: flags.cluster_name.clone(), joining };
    let dialer = Dialer::new(client_tls);
    let file = kind.has_disk.then(|| MapFile::of(&flags.storage_path));
    let (name, own) = (&flags.cluster_name, flags.node_id.clone());
    let follower = Follower::start(name, own, &flags.control_plane, dialer.clone(), file, clock::now).await;
    let held = follower.held();
    let caller = Caller::new(dialer.clone(), &flags.control_plane, held.map());
    // Ends with the process, which has nothing more to tell.
    drop(tokio::spawn(tell_news(held.map())));
    let own = Own { cluster: name.clone(), replica: Replica { node: flags.node_id.clone(), incarnation } };
    let node = Node {
        own,
        map: held.map(),
        connections: Connections::new(name, dialer, held.map(), wire::Limits::default()),
        metrics: Metrics::default(),
        quit: Arc::default(),
        stopped: stopped.clone(),
    };
    let mut told = std::pin::pin!(told);
    let serving = tokio::select! {
        // Not cancel-safe, and need not be: what was begun is dropped with the process.
        serving = serve_role(&node) => serving?,
        told = &mut told => return told,
    };
    let Serving { router, mut services, hindrances, remarks, wind_down, stop: stop_role } = serving;

    services.add_service(MapService::server(&node.own.cluster, held.clone(), listening_stopped.clone()));
    let grpc = tokio::spawn(grpc.serve(services.routes().into_axum_router(), listening_stopped));
    let presence = Presence::start(identity, caller);
    metrics::register(&node.metrics, held.clone(), presence.standing());
    let pages = Pages {
        role: kind.role,
        own: node.own.replica.clone(),
        held,
        standing: presence.standing(),
        metrics: node.metrics.clone(),
        hindrances,
        remarks,
        stopped,
    };
    front.open(pages.router().fallback_service(router));

    let refused = tokio::select! {
        // Cancel-safe because both only wait.
        told = told => told.map(|()| None)?,
        () = node.quit.notified() => None,
        reason = refused_for_good(presence.standing()) => Some(reason),
    };
    info!("stopping");
    stop.send_replace(true);
    if refused.is_none() && !kind.stays {
        if let Err(error) = presence.leave(LEAVE_TIMEOUT).await {
            warn!(%error, "the control plane was not told that this node leaves");
        }
    } else {
        drop(presence);
    }
    said_once("winding down", wind_down.await);
    stop_listening.send_replace(true);
    http.await?;
    grpc.await?;
    said_once("stopping the role", stop_role.await);
    drop((follower, data));
    match refused {
        Some(reason) => bail!("the cluster refuses this node: {reason}"),
        None => {
            info!("stopped");
            Ok(())
        }
    }
}

/// What fails on the way out does not keep the rest from being stopped.
fn said_once(what: &str, done: anyhow::Result<()>) {
    if let Err(e) = done {
        error!(error = format!("{e:#}"), "{what} failed");
    }
}

/// Resolves when the cluster has refused the node for long enough, and says why.
async fn refused_for_good(mut standing: watch::Receiver<Standing>) -> String {
    loop {
        let refused = standing.wait_for(|standing| matches!(standing, Standing::Refused(_))).await;
        let reason = match refused.as_deref() {
            Ok(Standing::Refused(reason)) => reason.clone(),
            // Nobody is left to say anything.
            Ok(_) | Err(_) => return std::future::pending().await,
        };
        drop(refused);
        let other = standing.wait_for(|standing| !matches!(standing, Standing::Refused(_)));
        if tokio::time::timeout(REFUSAL_PATIENCE, other).await.is_err() {
            return reason;
        }
    }
}

/// TLS of the gRPC listener and of calls to others.
pub(crate) fn grpc_tls(flags: &NodeFlags) -> anyhow::Result<(Option<Arc<rustls::ServerConfig>>, Option<ClientTls>)> {
    match &flags.grpc_config_file {
        Some(file) => grpc_tls::load(file).map(|(server, client)| (Some(server), Some(client))),
        None => Ok((None, None)),
    }
}

/// The HTTP listener of a node.
pub(crate) async fn listen_http(flags: &NodeFlags) -> anyhow::Result<Server> {
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

async fn listen_grpc(address: &str, tls: Option<Arc<rustls::ServerConfig>>) -> anyhow::Result<Server> {
    let limits = server::Limits { connections_max: GRPC_CONNECTIONS_MAX, ..server::Limits::default() };
    let listener = Server::bind(address, tls, limits).await?;
    info!(address = %listener.address()?, "listening for gRPC");
    Ok(listener)
}

/// Resolves when a signal says so.
pub(crate) async fn wait_to_stop() -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        // Cancel-safe because signals are only waited for.
        interrupted = tokio::signal::ctrl_c() => Ok(interrupted?),
        _ = terminate.recv() => Ok(()),
    }
}
