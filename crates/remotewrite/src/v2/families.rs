//! Which metadata was stored a short while ago and need not be written again: 2.0 sends it with every series of every request, and
//! it would be a good part of what is logged.

use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::{Mutex, PoisonError};

use model::{DurationMs, Metadata, TimestampMs};

/// Families that are remembered; it protects memory. More are written each time.
const FAMILIES_MAX: usize = 1 << 16;
/// After this all is written again: what is stored may be gone.
const REMEMBERED_FOR: DurationMs = DurationMs::mins(10);

/// Metadata that is stored, by hash, of all requests of a distributor.
#[derive(Debug, Default)]
pub struct KnownFamilies {
    hasher: RandomState,
    // Guards the memory of all requests; taken alone, and never for longer than a few looks into it.
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    since: Option<TimestampMs>,
    hashes: HashSet<u64>,
}

impl KnownFamilies {
    pub(super) fn hash(&self, name: &str, metadata: &Metadata) -> u64 {
        self.hasher.hash_one((name, metadata))
    }

    pub(super) fn has(&self, hash: u64) -> bool {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).hashes.contains(&hash)
    }

    /// Forgets everything now and then.
    pub(super) fn forget_old(&self, now: TimestampMs) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        // Also where the clock went back.
        let is_recent = known.since.is_some_and(|since| since <= now && now - since < REMEMBERED_FOR);
        if !is_recent {
            known.hashes.clear();
            known.since = Some(now);
        }
    }

    pub(super) fn remember(&self, hashes: impl IntoIterator<Item = u64>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for hash in hashes {
            if known.hashes.len() < FAMILIES_MAX {
                known.hashes.insert(hash);
            }
        }
    }
}
