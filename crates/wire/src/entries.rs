//! Generation entries by name, so that a push need not carry the entry itself.
//!
//! A name holds a checksum of the entry besides its generation: a control plane that was born again begins its generations
//! anew. A receiver that was started anew knows nothing, asks for the entry, and is sent it.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use cluster::{ClusterMap, Group, GroupId};
use parking_lot::Mutex;
use proto::v1::Frame;
use replication::Entry;
use tokio::sync::watch;
use tonic::Status;

/// Entries that a receiver remembers: it is in one group, and writers differ by a generation or two.
const RECENT_MAX: usize = 16;

/// What a push says of its entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EntryName {
    pub(crate) group: u32,
    pub(crate) generation: u64,
    pub(crate) crc32c: u32,
}

/// An entry with its name and bytes.
#[derive(Debug)]
pub(crate) struct Named {
    pub(crate) name: EntryName,
    pub(crate) frame: Frame,
    entry: Entry,
}

impl Named {
    pub(crate) fn of(entry: &Entry) -> Named {
        let frame = proto::seal(Bytes::from(entry.encode()));
        Named { name: name_of(entry, frame.crc32c), frame, entry: entry.clone() }
    }
}

fn name_of(entry: &Group, crc32c: u32) -> EntryName {
    EntryName { group: entry.id().0, generation: entry.newest().number.0, crc32c }
}

/// What a sender knows of one receiver.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// The entry sent last, and whether the receiver has it. Guards a pointer; never held over an await.
    last: Mutex<Option<(Arc<Named>, bool)>>,
}

impl Told {
    /// The entry's name, and whether the receiver has it.
    pub(crate) fn name(&self, entry: &Entry) -> (Arc<Named>, bool) {
        let mut last = self.last.lock();
        match &*last {
            Some((named, told)) if Arc::ptr_eq(&named.entry, entry) || named.entry == *entry => (named.clone(), *told),
            _ => {
                let named = Arc::new(Named::of(entry));
                *last = Some((named.clone(), false));
                (named, false)
            }
        }
    }

    /// The receiver has answered a push of this name, or has asked what it means.
    pub(crate) fn learn(&self, name: EntryName, told: bool) {
        if let Some(last) = self.last.lock().as_mut().filter(|(named, _)| named.name == name) {
            last.1 = told;
        }
    }
}

/// What a receiver knows.
pub(crate) struct Known {
    /// Newest last. Guards a short list; never held over an await.
    recent: Mutex<VecDeque<(EntryName, Entry)>>,
    map: Option<watch::Receiver<Arc<ClusterMap>>>,
}

impl Known {
    pub(crate) fn new(map: Option<watch::Receiver<Arc<ClusterMap>>>) -> Known {
        Known { recent: Mutex::default(), map }
    }

    /// The entry of this name, if it came before or is the map's.
    pub(crate) fn find(&self, name: EntryName) -> Option<Entry> {
        if let Some((_, entry)) = self.recent.lock().iter().rev().find(|(known, _)| *known == name) {
            return Some(entry.clone());
        }
        let group = self.map.as_ref()?.borrow().group(GroupId(name.group))?.clone();
        let of_map = name_of(&group, crc32c::crc32c(&group.encode()));
        (of_map == name).then(|| self.remember(name, Arc::new(group)))
    }

    /// The entry that came with this name.
    pub(crate) fn take(&self, name: EntryName, frame: Frame) -> Result<Entry, Status> {
        let crc32c = frame.crc32c;
        let bytes = proto::open(Some(frame), Group::ENCODED_BYTES_MAX)?;
        if let Some(known) = self.find(name).filter(|_| crc32c == name.crc32c) {
            return Ok(known);
        }
        let group = Group::decode(&bytes).map_err(|e| Status::invalid_argument(format!("read entry: {e}")))?;
        if name_of(&group, crc32c) != name {
            return Err(Status::invalid_argument("the entry is not the one that is named"));
        }
        Ok(self.remember(name, Arc::new(group)))
    }

    fn remember(&self, name: EntryName, entry: Entry) -> Entry {
        let mut recent = self.recent.lock();
        recent.push_back((name, entry.clone()));
        if recent.len() > RECENT_MAX {
            recent.pop_front();
        }
        entry
    }
}
