//! The newest map that a node holds, and how old its word is.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cluster::{ClusterId, ClusterMap, MapVersion};
use parking_lot::Mutex;
use tokio::sync::watch;

/// Where a map can be had from: a voter of the control plane, or what a node holds.
pub trait MapSource: Send + Sync + 'static {
    /// The newest map, and word of each newer one. Before any is known it is empty.
    fn map(&self) -> watch::Receiver<Arc<ClusterMap>>;

    /// How long ago the control plane itself is known to have held this map; `None` without a map.
    fn age(&self) -> Option<Duration>;
}

/// Why a map is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdoptError {
    /// It is another cluster's.
    #[error("the map is of cluster {found}, this node is in cluster {own}")]
    OtherCluster {
        /// The map's.
        found: ClusterId,
        /// That of the map held.
        own: ClusterId,
    },
}

/// The map that a node holds.
#[derive(Debug)]
pub struct HeldMap {
    map: watch::Sender<Arc<ClusterMap>>,
    /// Guards two numbers; no other lock is taken under it.
    word: Mutex<Option<Word>>,
}

/// When word of the map came, and how old it was then.
#[derive(Clone, Copy, Debug)]
struct Word {
    at: Instant,
    age: Duration,
}

impl Default for HeldMap {
    fn default() -> HeldMap {
        HeldMap { map: watch::Sender::new(Arc::default()), word: Mutex::new(None) }
    }
}

impl HeldMap {
    /// Takes a map if it is newer than the one held, and the word of its age if it is not older. Tells whether it is newer.
    pub fn adopt(&self, map: ClusterMap, age: Duration) -> Result<bool, AdoptError> {
        let Some(found) = map.cluster() else { return Ok(false) };
        if let Some(own) = self.map.borrow().cluster().filter(|own| *own != found) {
            return Err(AdoptError::OtherCluster { found, own });
        }
        let version = map.version();
        let newer = self.map.send_if_modified(|held| {
            let newer = held.cluster().is_none() || held.version() < version;
            if newer {
                *held = Arc::new(map);
            }
            newer
        });
        if newer {
            *self.word.lock() = Some(Word { at: Instant::now(), age });
        } else {
            self.confirm(version, age);
        }
        Ok(newer)
    }

    /// Takes word that a version was the control plane's this long ago: it counts if it is the version held.
    pub fn confirm(&self, version: MapVersion, age: Duration) {
        if self.map.borrow().version() != version {
            return;
        }
        let mut word = self.word.lock();
        if word.is_none_or(|word| age < word.age + word.at.elapsed()) {
            *word = Some(Word { at: Instant::now(), age });
        }
    }
}

impl MapSource for HeldMap {
    fn map(&self) -> watch::Receiver<Arc<ClusterMap>> {
        self.map.subscribe()
    }

    fn age(&self) -> Option<Duration> {
        self.word.lock().map(|word| word.age + word.at.elapsed())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use cluster::{Address, Command, Incarnation, NodeId, Role, Roles, State, Zone};

    use super::*;

    /// A map of cluster 1 after this many commands, the last of which joined the node `n<version>` at `address`.
    pub(crate) fn map_at(version: u64, address: &str) -> ClusterMap {
        let mut state = State::default();
        let birth =
            Command::Birth { cluster: ClusterId(1), partition_count: 4, replication_factor: 3, bootstrap_ingesters: 3 };
        state.apply(1, &birth);
        for index in 2..=version {
            let join = Command::Join {
                node: NodeId::new(&format!("n{index}")).unwrap(),
                roles: Roles::one(Role::Ruler),
                zone: Zone::new("z").unwrap(),
                address: Address::new(address).unwrap(),
                incarnation: Incarnation(index),
            };
            state.apply(index, &join);
        }
        state.map().clone()
    }

    pub(crate) fn map(version: u64) -> ClusterMap {
        map_at(version, "127.0.0.1:1")
    }

    fn other_cluster() -> ClusterMap {
        let mut state = State::default();
        let birth =
            Command::Birth { cluster: ClusterId(2), partition_count: 4, replication_factor: 3, bootstrap_ingesters: 3 };
        state.apply(9, &birth);
        state.map().clone()
    }

    #[test]
    fn the_newest_map_is_held() {
        let held = HeldMap::default();
        assert_eq!(held.age(), None);
        let age = Duration::from_secs;
        assert_eq!(held.adopt(ClusterMap::default(), age(0)), Ok(false), "nothing is not adopted");
        assert_eq!(held.adopt(map(3), age(50)), Ok(true));
        assert_eq!(held.adopt(map(2), age(0)), Ok(false));
        assert_eq!(held.map().borrow().version(), MapVersion(3));
        assert!(held.age().unwrap() >= age(50), "word of an older version is not word of this one");
        held.confirm(MapVersion(2), age(1));
        assert!(held.age().unwrap() >= age(50));
        held.confirm(MapVersion(3), age(20));
        assert!((age(20)..age(50)).contains(&held.age().unwrap()));
        held.confirm(MapVersion(3), age(40));
        assert!(held.age().unwrap() < age(40), "older word changes nothing");
        assert_eq!(held.adopt(map(4), age(90)), Ok(true));
        assert!(held.age().unwrap() >= age(90));
    }

    #[test]
    fn another_clusters_map_is_refused() {
        let held = HeldMap::default();
        held.adopt(map(3), Duration::ZERO).unwrap();
        let refused = held.adopt(other_cluster(), Duration::ZERO);
        assert_eq!(refused, Err(AdoptError::OtherCluster { found: ClusterId(2), own: ClusterId(1) }));
        assert_eq!(*held.map().borrow(), Arc::new(map(3)));
    }
}
