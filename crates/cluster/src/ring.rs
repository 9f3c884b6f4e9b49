//! Consistent hashing: points on a ring of 64 bits, each owned by somebody; a hash belongs to the first point at or after it.
//!
//! `hashring` holds the points in order and finds the next one; everything else is ours. It is used only for what it does
//! right: it is given all points at once in the order of their owners (so equal points fall the same way everywhere), is
//! never changed, and hashes nothing itself: where a point lies is decided here, by XXH3 over bytes that do not depend on a
//! compiler or a platform.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, Hash, Hasher};

use hashring::HashRing;
use xxhash_rust::xxh3::xxh3_64;

use crate::{ClusterMap, GroupId, NodeId, NodeState, Role};

/// Points of a scraper. With them the shares of up to ten scrapers differ from equal by about 1.5 % (one standard
/// deviation), and a ring of ten is built in a few milliseconds.
pub const SCRAPER_POINTS: u32 = 4096;

/// Points of a group. Partitions are placed once and evenly whatever the points are, so few will do.
const GROUP_POINTS: u32 = 64;

/// Something that can own points: what its bytes are is for ever, since targets would else move.
pub trait PointOwner: Clone + Ord {
    /// Bytes that tell it from all others.
    fn ring_bytes(&self) -> Vec<u8>;
}

impl PointOwner for NodeId {
    fn ring_bytes(&self) -> Vec<u8> {
        self.as_str().as_bytes().to_vec()
    }
}

impl PointOwner for GroupId {
    fn ring_bytes(&self) -> Vec<u8> {
        self.0.to_le_bytes().to_vec()
    }
}

/// Owners and their points.
#[derive(Clone, Debug)]
pub struct Ring<T> {
    /// In order.
    owners: Vec<T>,
    points: HashRing<Point, Verbatim>,
}

#[derive(Clone, Copy, Debug)]
struct Point {
    at: u64,
    /// Index in `owners`.
    owner: usize,
}

impl Hash for Point {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.at);
    }
}

/// Takes a number for its own hash.
#[derive(Clone, Copy, Debug)]
struct Verbatim;

struct VerbatimHasher(u64);

impl BuildHasher for Verbatim {
    type Hasher = VerbatimHasher;

    fn build_hasher(&self) -> VerbatimHasher {
        VerbatimHasher(0)
    }
}

impl Hasher for VerbatimHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u64(&mut self, v: u64) {
        self.0 = v;
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("points and hashes are u64, whose Hash calls write_u64");
    }
}

/// Where the n-th point of an owner lies. The number is hashed as text, not given as a seed: with names of up to three bytes
/// XXH3 only adds the seed to a constant, and many owners would have the same points.
fn point(bytes: &[u8], n: u32) -> u64 {
    let mut text = Vec::with_capacity(bytes.len() + 4);
    text.extend_from_slice(bytes);
    text.extend_from_slice(&n.to_le_bytes());
    xxh3_64(&text)
}

impl<T: PointOwner> Ring<T> {
    /// A ring on which each owner has as many points; owners named twice count once.
    pub fn new(owners: impl IntoIterator<Item = T>, points_each: u32) -> Ring<T> {
        let owners: Vec<T> = owners.into_iter().collect::<BTreeSet<T>>().into_iter().collect();
        let mut points = HashRing::with_hasher(Verbatim);
        let of =
            |(owner, bytes): (usize, Vec<u8>)| (0..points_each).map(move |n| Point { at: point(&bytes, n), owner });
        points.batch_add(owners.iter().map(T::ring_bytes).enumerate().flat_map(of).collect());
        Ring { owners, points }
    }

    /// Who has this hash; `None` on an empty ring.
    pub fn owner(&self, hash: u64) -> Option<&T> {
        self.points.get(&hash).map(|point| &self.owners[point.owner])
    }

    /// All owners, in the order in which they would have this hash if those before them were gone.
    pub fn walk(&self, hash: u64) -> impl Iterator<Item = &T> {
        let mut at = hash;
        let mut seen = BTreeSet::new();
        let mut steps = 0..self.points.len();
        std::iter::from_fn(move || {
            for _ in steps.by_ref() {
                let point = self.points.get(&at)?;
                at = point.at.wrapping_add(1);
                if seen.insert(point.owner) {
                    return Some(&self.owners[point.owner]);
                }
            }
            None
        })
    }

    /// The owners, in order.
    pub fn owners(&self) -> &[T] {
        &self.owners
    }
}

/// The scrapers that live, in order: the owners on [`scraper_ring`], for who wants to know whether it changed.
pub fn live_scrapers(map: &ClusterMap) -> impl Iterator<Item = &NodeId> {
    let live = map.nodes().filter(|(_, node)| node.state == NodeState::Up && node.roles.contains(Role::Scraper));
    live.map(|(id, _)| id)
}

/// The ring of the scrapers that live, over which targets are shared: a target is scraped by the owner of its hash.
pub fn scraper_ring(map: &ClusterMap) -> Ring<NodeId> {
    Ring::new(live_scrapers(map).cloned(), SCRAPER_POINTS)
}

/// The ring that proposes a group for each partition.
pub(crate) fn group_ring(map: &ClusterMap) -> Ring<GroupId> {
    Ring::new(map.groups().iter().map(crate::Group::id), GROUP_POINTS)
}

/// The place of a partition on that ring.
pub(crate) fn partition_hash(partition: u32) -> u64 {
    xxh3_64(&partition.to_le_bytes())
}

#[cfg(test)]
mod tests;
