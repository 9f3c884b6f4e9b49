//! Where members, stores and scrapers are found: at the addresses of the cluster map.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use cluster::{Address, ClusterMap, Incarnation, MapVersion, NodeId, NodeState, Replica, Role};
use parking_lot::Mutex;
use peer::{Member, Members, ScrapingNode, ScrapingNodes, Store, Stores};
use proto::Dialer;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tonic::transport::Channel;

use crate::Limits;
use crate::client::{Link, RemoteMember, RemoteScraper, RemoteStore};

/// Incarnations of one node that calls may be meant for at once: it was wiped, and generations of before still count.
const INCARNATIONS_MAX: usize = 4;

/// Connections to the nodes of a cluster, one for each node while it is in the map. They come about with the first call.
pub struct Connections {
    cluster: Bytes,
    dialer: Dialer,
    limits: Limits,
    map: watch::Receiver<Arc<ClusterMap>>,
    /// Connections belong to the runtime that made this, whoever asks for them first: a scraper's threads end before it does.
    runtime: Handle,
    /// Guards short maps; never held over an await, and no other lock is taken under it.
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    /// Of the map that the connections were last compared with.
    version: Option<MapVersion>,
    nodes: BTreeMap<NodeId, Connected>,
    own: Own,
}

struct Connected {
    address: Address,
    channel: Channel,
    /// By incarnation; what is known of a replica lives with it.
    members: BTreeMap<Incarnation, Arc<dyn Member>>,
}

/// What lives in this process and is not called through a socket.
#[derive(Default)]
struct Own {
    member: Option<(Replica, Arc<dyn Member>)>,
    store: Option<(NodeId, Arc<dyn Store>)>,
    scraper: Option<(NodeId, Arc<dyn ScrapingNode>)>,
}

impl Connections {
    /// Connections in the cluster of this name. Must be called on the runtime on which they are to live.
    pub fn new(
        cluster: &str,
        dialer: Dialer,
        map: watch::Receiver<Arc<ClusterMap>>,
        limits: Limits,
    ) -> Arc<Connections> {
        let cluster = Bytes::copy_from_slice(cluster.as_bytes());
        Arc::new(Connections { cluster, dialer, limits, map, runtime: Handle::current(), held: Mutex::default() })
    }

    /// The member in this process: calls for this replica go to it directly.
    pub fn set_own_member(&self, replica: Replica, member: Arc<dyn Member>) {
        self.held.lock().own.member = Some((replica, member));
    }

    /// The store in this process.
    pub fn set_own_store(&self, node: NodeId, store: Arc<dyn Store>) {
        self.held.lock().own.store = Some((node, store));
    }

    /// The scraper in this process.
    pub fn set_own_scraper(&self, node: NodeId, scraper: Arc<dyn ScrapingNode>) {
        self.held.lock().own.scraper = Some((node, scraper));
    }

    fn link(&self, replica: &Replica, connected: &Connected) -> Arc<Link> {
        let (address, channel) = (&connected.address, connected.channel.clone());
        Arc::new(Link::new(&self.cluster, replica, address, channel, self.limits))
    }

    /// Nodes with the role that are up.
    fn up(map: &ClusterMap, role: Role) -> Vec<(NodeId, Incarnation)> {
        let up = map.nodes().filter(|(_, node)| node.state == NodeState::Up && node.roles.contains(role));
        up.map(|(id, node)| (id.clone(), node.incarnation)).collect()
    }

    /// A way to each of these nodes.
    fn each<T: ?Sized>(
        &self,
        map: &ClusterMap,
        nodes: Vec<(NodeId, Incarnation)>,
        own: impl Fn(&Own) -> Option<&(NodeId, Arc<T>)>,
        remote: impl Fn(Arc<Link>) -> Arc<T>,
    ) -> Vec<(NodeId, Arc<T>)> {
        let mut held = self.held.lock();
        held.follow(map);
        let found = nodes.into_iter().filter_map(|(node, incarnation)| {
            if let Some((_, here)) = own(&held.own).filter(|(own, _)| *own == node) {
                return Some((node, here.clone()));
            }
            let connected = held.connect(self, map, &node)?;
            let link = self.link(&Replica { node: node.clone(), incarnation }, connected);
            Some((node, remote(link)))
        });
        found.collect()
    }
}

impl Held {
    /// Drops connections to nodes that left or moved.
    fn follow(&mut self, map: &ClusterMap) {
        if self.version == Some(map.version()) {
            return;
        }
        let stays = |id: &NodeId, connected: &mut Connected| {
            map.node(id).is_some_and(|node| node.state != NodeState::Left && node.address == connected.address)
        };
        self.nodes.retain(stays);
        self.version = Some(map.version());
    }

    fn connect(&mut self, with: &Connections, map: &ClusterMap, id: &NodeId) -> Option<&mut Connected> {
        if !self.nodes.contains_key(id) {
            let node = map.node(id).filter(|node| node.state != NodeState::Left)?;
            let _on_its_runtime = with.runtime.enter();
            // Calls have timeouts of their own, none longer than this.
            let channel = with.dialer.dial(node.address.as_str(), with.limits.stream_timeout).ok()?;
            let connected = Connected { address: node.address.clone(), channel, members: BTreeMap::new() };
            self.nodes.insert(id.clone(), connected);
        }
        self.nodes.get_mut(id)
    }
}

impl Members for Connections {
    fn member(&self, replica: &Replica) -> Option<Arc<dyn Member>> {
        let map = self.map.borrow().clone();
        let mut held = self.held.lock();
        held.follow(&map);
        if let Some((_, member)) = held.own.member.as_ref().filter(|(own, _)| own == replica) {
            return Some(member.clone());
        }
        let connected = held.connect(self, &map, &replica.node)?;
        if let Some(member) = connected.members.get(&replica.incarnation) {
            return Some(member.clone());
        }
        let member: Arc<dyn Member> = Arc::new(RemoteMember::new(self.link(replica, connected)));
        if connected.members.len() >= INCARNATIONS_MAX {
            connected.members.clear();
        }
        connected.members.insert(replica.incarnation, member.clone());
        Some(member)
    }
}

impl Stores for Connections {
    fn stores(&self) -> Vec<(NodeId, Arc<dyn Store>)> {
        let map = self.map.borrow().clone();
        let nodes = Connections::up(&map, Role::Store);
        self.each(&map, nodes, |own| own.store.as_ref(), |link| Arc::new(RemoteStore(link)))
    }
}

impl ScrapingNodes for Connections {
    fn scrapers(&self) -> Vec<(NodeId, Arc<dyn ScrapingNode>)> {
        let map = self.map.borrow().clone();
        let nodes = Connections::up(&map, Role::Scraper);
        self.each(&map, nodes, |own| own.scraper.as_ref(), |link| Arc::new(RemoteScraper(link)))
    }
}
