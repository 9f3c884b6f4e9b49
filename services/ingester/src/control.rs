//! What a replica remembers besides samples: which ranges are sealed, which were replaced by blocks, which were freed.
//!
//! It changes only by records in the log, between the batches, so a replay comes to the same state; a snapshot carries it.
//!
//! ```text
//! payload of a log record = 0 · batch | 1 · before i64 | 2 · start i64 · manifest | 3 · before i64     (little-endian)
//! state                   = 1 · sealed i64 · freed i64 · count u32 · (start i64 · manifest len u32 · manifest)*
//! ```

use std::collections::BTreeMap;

use model::TimestampMs;

pub(crate) const KIND_BATCH: u8 = 0;
const KIND_SEAL: u8 = 1;
const KIND_DROPPED: u8 = 2;
const KIND_FREED: u8 = 3;

const STATE_VERSION: u8 = 1;

/// Sealed, dropped and freed ranges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    /// No batch may touch time before this.
    pub sealed_before: TimestampMs,
    /// Samples before this are no longer held; blocks have them.
    pub freed_before: TimestampMs,
    /// Start of a range, and the manifest that lists its blocks; the head still serves it.
    pub dropped: BTreeMap<TimestampMs, String>,
}

impl Default for Control {
    fn default() -> Control {
        Control { sealed_before: TimestampMs::MIN, freed_before: TimestampMs::MIN, dropped: BTreeMap::new() }
    }
}

/// A change of [`Control`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Seal { before: TimestampMs },
    Dropped { start: TimestampMs, manifest: String },
    Freed { before: TimestampMs },
}

impl Change {
    /// The payload of its record.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let (kind, time, rest) = match self {
            Change::Seal { before } => (KIND_SEAL, before, ""),
            Change::Dropped { start, manifest } => (KIND_DROPPED, start, manifest.as_str()),
            Change::Freed { before } => (KIND_FREED, before, ""),
        };
        let mut out = vec![kind];
        out.extend_from_slice(&time.0.to_le_bytes());
        out.extend_from_slice(rest.as_bytes());
        out
    }

    /// `None` where the payload is no change that this program knows.
    pub(crate) fn decode(payload: &[u8]) -> Option<Change> {
        let (kind, rest) = payload.split_first()?;
        let (time, rest) = rest.split_first_chunk::<8>()?;
        let time = TimestampMs(i64::from_le_bytes(*time));
        match *kind {
            KIND_SEAL if rest.is_empty() => Some(Change::Seal { before: time }),
            KIND_DROPPED => Some(Change::Dropped { start: time, manifest: std::str::from_utf8(rest).ok()?.to_owned() }),
            KIND_FREED if rest.is_empty() => Some(Change::Freed { before: time }),
            _ => None,
        }
    }
}

impl Control {
    /// Applies a logged change. Nothing ever goes back.
    pub(crate) fn apply(&mut self, change: &Change) {
        match change {
            Change::Seal { before } => self.sealed_before = self.sealed_before.max(*before),
            Change::Dropped { start, manifest } => {
                self.dropped.insert(*start, manifest.clone());
            }
            Change::Freed { before } => {
                self.freed_before = self.freed_before.max(*before);
                self.dropped.retain(|start, _| *start >= self.freed_before);
            }
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = vec![STATE_VERSION];
        out.extend_from_slice(&self.sealed_before.0.to_le_bytes());
        out.extend_from_slice(&self.freed_before.0.to_le_bytes());
        let length = |n: usize| u32::try_from(n).expect("manifests are few and their names short").to_le_bytes();
        out.extend_from_slice(&length(self.dropped.len()));
        for (start, manifest) in &self.dropped {
            out.extend_from_slice(&start.0.to_le_bytes());
            out.extend_from_slice(&length(manifest.len()));
            out.extend_from_slice(manifest.as_bytes());
        }
        out
    }

    /// `None` where the bytes are no state that this program knows. No bytes are the state of a new replica.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Control> {
        if bytes.is_empty() {
            return Some(Control::default());
        }
        let mut rest = bytes.strip_prefix(&[STATE_VERSION])?;
        let take_i64 = |rest: &mut &[u8]| {
            let (head, tail) = rest.split_first_chunk::<8>()?;
            *rest = tail;
            Some(TimestampMs(i64::from_le_bytes(*head)))
        };
        let take_u32 = |rest: &mut &[u8]| {
            let (head, tail) = rest.split_first_chunk::<4>()?;
            *rest = tail;
            usize::try_from(u32::from_le_bytes(*head)).ok()
        };
        let mut control = Control {
            sealed_before: take_i64(&mut rest)?,
            freed_before: take_i64(&mut rest)?,
            dropped: BTreeMap::new(),
        };
        for _ in 0..take_u32(&mut rest)? {
            let start = take_i64(&mut rest)?;
            let n = take_u32(&mut rest)?;
            let (name, tail) = rest.split_at_checked(n)?;
            rest = tail;
            control.dropped.insert(start, std::str::from_utf8(name).ok()?.to_owned());
        }
        rest.is_empty().then_some(control)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_and_state_come_back() {
        let changes = [
            Change::Seal { before: TimestampMs(7_200_000) },
            Change::Dropped { start: TimestampMs(0), manifest: "closed/c/1/0.json".into() },
            Change::Dropped { start: TimestampMs(7_200_000), manifest: "closed/c/1/7200000.json".into() },
            Change::Freed { before: TimestampMs(7_200_000) },
        ];
        let mut control = Control::default();
        for c in &changes {
            assert_eq!(Change::decode(&c.encode()).as_ref(), Some(c));
            control.apply(c);
            assert_eq!(Control::decode(&control.encode()), Some(control.clone()));
        }
        assert_eq!(control.dropped.keys().map(|t| t.0).collect::<Vec<_>>(), [7_200_000]);
        for n in 1..control.encode().len() {
            assert_eq!(Control::decode(&control.encode()[..n]), None);
        }
        assert_eq!(Change::decode(&[9; 20]), None);
        assert_eq!(Change::decode(&[KIND_SEAL; 10]), None, "a byte too many");
    }
}
