//! Which targets are this scraper's, and how long it goes on with those that are another's now. Arithmetic alone.
//!
//! Targets belong to the owners of their hashes on the ring of live scrapers. Each scraper decides by the map that it has, so for
//! a moment two of them may hold a target, or none: whoever has to give one away goes on with it until the other must have learned
//! of it. Twice the same tick is harmless: both write the same timestamps (`schedule`), and ingesters keep one sample of each.
//! A scraper that is cut off from the map keeps what it had: it cannot know.

use std::sync::Arc;
use std::time::Duration;

use cluster::{ClusterMap, NodeId, Ring, live_scrapers, scraper_ring};
use model::{DurationMs, TimestampMs};
use tokio::sync::watch;

/// A scraper among others.
#[derive(Clone, Debug)]
pub struct Sharing {
    /// Its name in the map.
    pub me: NodeId,
    /// The map as it comes.
    pub map: watch::Receiver<Arc<ClusterMap>>,
}

/// How long targets that move are scraped by the one who had them, too.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Overlap {
    /// How much later than we another scraper may learn of a map, and have made its loops of it.
    pub(crate) propagation: Duration,
    /// The longest overlap.
    pub(crate) max: Duration,
}

/// The targets of one scraper.
#[derive(Clone, Debug)]
pub(crate) enum Share {
    /// There is but one scraper.
    Everything,
    /// It is no scraper yet, or no longer.
    Nothing,
    /// What the ring gives it.
    Arcs { me: NodeId, ring: Arc<Ring<NodeId>> },
}

impl Share {
    /// What `map` gives to `me`. Nothing where nobody lives.
    pub(crate) fn of(me: &NodeId, map: &ClusterMap) -> Share {
        Share::Nothing.after(me, map).unwrap_or(Share::Nothing)
    }

    /// The share by a newer map; `None` where it is the same. Where no scraper lives it is: of all who could take the targets
    /// nobody would, and a control plane that just came to life has heard of nobody yet.
    pub(crate) fn after(&self, me: &NodeId, map: &ClusterMap) -> Option<Share> {
        let is_same = match self {
            Share::Everything | Share::Nothing => live_scrapers(map).next().is_none(),
            Share::Arcs { ring, .. } => {
                live_scrapers(map).next().is_none() || ring.owners().iter().eq(live_scrapers(map))
            }
        };
        (!is_same).then(|| Share::Arcs { me: me.clone(), ring: Arc::new(scraper_ring(map)) })
    }

    /// Whether the target, or whatever else has this hash, is among them.
    pub(crate) fn is_mine(&self, hash: u64) -> bool {
        match self {
            Share::Everything => true,
            Share::Nothing => false,
            Share::Arcs { me, ring } => ring.owner(hash) == Some(me),
        }
    }

    /// Whether there is somebody to give targets to.
    pub(crate) fn has_others(&self) -> bool {
        match self {
            Share::Everything | Share::Nothing => false,
            Share::Arcs { me, ring } => ring.owners().iter().any(|owner| owner != me),
        }
    }

    /// How many share.
    pub(crate) fn scrapers(&self) -> usize {
        match self {
            Share::Everything => 1,
            Share::Nothing => 0,
            Share::Arcs { ring, .. } => ring.owners().len(),
        }
    }
}

impl Overlap {
    /// The last tick that may be scraped of a target that is found at `now` to be another's. That one begins with the first tick
    /// after it has learned of it, which is `propagation` later at most; an interval more covers a first scrape that is late.
    pub(crate) fn last_tick_max(&self, now: TimestampMs, interval: DurationMs) -> TimestampMs {
        let ms = |d: Duration| i64::try_from(d.as_millis()).unwrap_or(i64::MAX);
        let overlap = interval.0.saturating_add(ms(self.propagation)).min(ms(self.max));
        TimestampMs(now.0.saturating_add(overlap))
    }
}

#[cfg(test)]
mod tests;
