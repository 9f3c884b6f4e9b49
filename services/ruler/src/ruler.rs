//! A ruler put together: Raft node, gRPC listener, the leader's work, its own presence in the cluster.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use cluster::{Address, ClusterMap, Incarnation, Joining, LeaseTimes, NodeId, Role, Roles, Zone};
use membership::{Caller, Identity, MapService, MapSource, Presence, Standing, tell_news};
use proto::{ClientTls, Dialer};
use raft::{GrpcTransport, Node, OpenError, Options, RaftService};
use server::{Limits, ListenError, Metrics, Server};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::service::Routes;

use crate::control::Control;
use crate::entry::{Enter, Entry};
use crate::leader::{Leader, Newborn};
use crate::pages::Pages;

/// What a ruler is told.
#[derive(Clone)]
pub struct Config {
    /// `--cluster.name`.
    pub cluster: String,
    /// `--cluster.node-id`.
    pub node: NodeId,
    /// `--cluster.zone`.
    pub zone: Zone,
    /// The data directory's.
    pub incarnation: Incarnation,
    /// `--storage.path`.
    pub storage: PathBuf,
    /// `--grpc.listen-address`.
    pub grpc_listen: String,
    /// Where others reach that listener.
    pub address: Address,
    /// `--cluster.control-plane`: where the first voters answer.
    pub control_plane: Vec<String>,
    /// Read at the cluster's birth only.
    pub replication_factor: u8,
    /// Read at the cluster's birth only.
    pub bootstrap_ingesters: u32,
    /// Read at the cluster's birth only; a power of two.
    pub partition_count: u32,
    /// After how much silence a node is what.
    pub lease_times: LeaseTimes,
    /// Of the gRPC listener; in the clear without it.
    pub server_tls: Option<Arc<rustls::ServerConfig>>,
    /// Of calls to others.
    pub client_tls: Option<ClientTls>,
}

/// Why a ruler does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its Raft directory cannot be used.
    #[error("open the control plane's log")]
    Open(#[from] OpenError),
    /// Its gRPC listener cannot be had.
    #[error("open the gRPC listener")]
    Listen(#[from] ListenError),
    /// A task died.
    #[error("start the gRPC listener")]
    Task(#[from] tokio::task::JoinError),
}

/// A running ruler.
pub struct Ruler {
    node: Arc<Node>,
    presence: Presence,
    router: Router,
    stop: watch::Sender<bool>,
    listener: JoinHandle<()>,
    leading: JoinHandle<()>,
    entering: JoinHandle<()>,
    telling: JoinHandle<()>,
}

/// The map as a voter has applied it.
struct Applied(Arc<Node>);

impl MapSource for Applied {
    fn map(&self) -> watch::Receiver<Arc<ClusterMap>> {
        self.0.map()
    }

    fn age(&self) -> Option<Duration> {
        self.0.map_age()
    }
}

impl Ruler {
    /// Opens the log, listens, and begins to enter the group. Returns at once: whether it has entered, `/-/ready` says.
    pub async fn start(config: Config, metrics: &Metrics) -> Result<Ruler, StartError> {
        let dialer = Dialer::new(config.client_tls.clone());
        let transport = GrpcTransport::new(&config.cluster, dialer.clone());
        let (dir, name, address) = (config.storage.join("raft"), config.node.clone(), config.address.clone());
        let node = Arc::new(Node::open(Options { dir, name, address }, Arc::new(transport)).await?);
        let newborn = Newborn {
            partition_count: config.partition_count,
            replication_factor: config.replication_factor,
            bootstrap_ingesters: config.bootstrap_ingesters,
        };
        let leader = Arc::new(Leader::new(node.clone(), config.lease_times, newborn));
        let (stop, stopped) = watch::channel(false);
        let listener = listen(&config, &node, &leader, stopped.clone()).await?;

        // All of this runs on the Raft node's threads: a heavy query must starve neither elections nor heartbeats.
        let threads = node.threads();
        let caller = Caller::new(dialer.clone(), &config.control_plane, node.map());
        let (say, entry) = watch::channel(Entry::Waiting("starting".into()));
        let (cluster, listed) = (config.cluster.clone(), config.control_plane.clone());
        let enter = Enter { cluster, node: node.clone(), dialer, caller: caller.clone(), listed };
        let entering = threads.spawn(enter.run(say));
        let telling = threads.spawn(tell_news(node.map()));
        let leading = threads.spawn(async move { leader.run(stopped).await });
        let presence = {
            let _on_its_threads = threads.enter();
            Presence::start(identity(&config), caller)
        };
        crate::metrics::register(metrics, &node);
        let pages = Pages {
            node: node.clone(),
            entry,
            standing: presence.standing(),
            lease: config.lease_times.lease,
            metrics: metrics.clone(),
        };
        Ok(Ruler { node, presence, router: pages.router(), stop, listener, leading, entering, telling })
    }

    /// What it serves over HTTP.
    pub fn router(&self) -> Router {
        self.router.clone()
    }

    /// The voter.
    pub fn node(&self) -> Arc<Node> {
        self.node.clone()
    }

    /// How this node stands with the cluster.
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.presence.standing()
    }

    /// Hands the lead over, ends streams, and closes the log. The membership stays: it will be back.
    pub async fn stop(self) {
        self.entering.abort();
        self.telling.abort();
        self.node.hand_over().await;
        drop(self.presence);
        self.stop.send_replace(true);
        for task in [self.listener, self.leading] {
            if let Err(error) = task.await {
                tracing::error!(%error, "a task of the ruler died");
            }
        }
        self.node.shutdown().await;
    }
}

fn identity(config: &Config) -> Identity {
    let joining = Joining {
        node: config.node.clone(),
        roles: Roles::one(Role::Ruler),
        zone: config.zone.clone(),
        address: config.address.clone(),
        incarnation: config.incarnation,
    };
    Identity { cluster: config.cluster.clone(), joining }
}

/// The gRPC listener, on the Raft node's threads.
async fn listen(
    config: &Config,
    node: &Arc<Node>,
    leader: &Arc<Leader>,
    stop: watch::Receiver<bool>,
) -> Result<JoinHandle<()>, StartError> {
    let cluster = config.cluster.as_str();
    let mut routes = Routes::builder();
    routes.add_service(RaftService::server(cluster, node.clone()));
    routes.add_service(Control::server(cluster, node.clone(), leader.clone(), &config.control_plane));
    routes.add_service(MapService::server(cluster, Arc::new(Applied(node.clone())), stop.clone()));
    let router = routes.routes().into_axum_router();
    let (address, tls) = (config.grpc_listen.clone(), config.server_tls.clone());
    let limits = Limits { connections_max: 4096, ..Limits::default() };
    let server = node.threads().spawn(async move { Server::bind(&address, tls, limits).await }).await??;
    if let Ok(address) = server.address() {
        tracing::info!(%address, "listening for gRPC");
    }
    Ok(node.threads().spawn(server.serve(router, stop)))
}
