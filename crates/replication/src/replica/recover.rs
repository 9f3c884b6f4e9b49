//! A replica over what its directory holds, record by record, so that a long log need not lie in memory.

use cluster::Replica as ReplicaId;

use super::{Base, Limits, Replica};
use crate::state::{Record, State};
use crate::{Payload, Position, Rules};

/// Begun with a snapshot's state, fed with the records of the log in order, finished as a replica.
#[derive(Debug)]
pub struct Recovery<P> {
    me: ReplicaId,
    limits: Limits,
    rules: Rules,
    /// Records up to here are in the snapshot; those of the log are kept for peers.
    from: Position,
    floor: Option<Position>,
    /// Last data position of the snapshot's state.
    base_data: Position,
    replica: Option<Replica<P>>,
    /// The last position met, of records that could be read and of others.
    last: Position,
    /// The first record began no directory, and there is no snapshot.
    headless: bool,
}

impl<P: Payload> Recovery<P> {
    /// `base`: the newest snapshot, if there is one.
    pub fn begin(me: ReplicaId, base: Option<&Base>, limits: Limits, rules: Rules) -> Recovery<P> {
        let from = base.map_or(0, |base| base.position);
        let replica = base.map(|base| Replica::over(me.clone(), base.state.clone(), 0, limits, rules));
        let base_data = base.map_or(0, |base| base.state.data_position);
        Recovery { me, limits, rules, from, floor: None, base_data, replica, last: from, headless: false }
    }

    /// The next record of the log.
    pub fn record(&mut self, position: Position, record: &Record<P>) {
        self.met(position);
        if self.replica.is_none() && !self.headless {
            match record {
                Record::Adopted(entry) => {
                    let state = State::new(&self.me, entry);
                    self.replica = Some(Replica::over(self.me.clone(), state, 0, self.limits, self.rules));
                }
                Record::Batch(_)
                | Record::Merged(_)
                | Record::Filled(_)
                | Record::Covered { .. }
                | Record::Sealed { .. }
                | Record::Dropped { .. }
                | Record::Freed { .. }
                | Record::Watermark { .. } => self.headless = true,
            }
        }
        let Some(replica) = &mut self.replica else { return };
        // Records that the snapshot holds are kept for peers.
        if position > self.from {
            replica.state.apply(&replica.me, position, record, replica.rules);
        }
        replica.remember(position, record);
    }

    /// A position whose record cannot be read. For a group of one, which has nobody to ask.
    pub fn lost(&mut self, position: Position) {
        self.met(position);
    }

    /// The state after what was read so far; `None` where nothing began it.
    pub fn state(&self) -> Option<&State> {
        self.replica.as_ref().map(|replica| &replica.state)
    }

    /// The replica, all of it synced; `None` where there is neither snapshot nor a log from its beginning. `floor`: what the log
    /// no longer holds, where nothing was read of it.
    pub fn finish(self, floor: Position) -> Option<Replica<P>> {
        let mut replica = self.replica?;
        replica.floor = self.floor.unwrap_or(floor);
        // Which of the truncated positions was the last with data is not known any more.
        replica.floor_data = replica.floor.min(self.base_data);
        replica.appended = self.last;
        replica.synced = self.last;
        replica.durable = replica.state.clone();
        Some(replica)
    }

    fn met(&mut self, position: Position) {
        self.floor.get_or_insert(position.saturating_sub(1));
        self.last = self.last.max(position);
    }
}

impl<P: Payload> Replica<P> {
    /// A replica over what its directory holds: the snapshot and the records of the log, all synced. `None` where there is nothing
    /// yet.
    pub fn recover<'a>(
        me: ReplicaId,
        base: Option<&Base>,
        floor: Position,
        records: impl IntoIterator<Item = (Position, &'a Record<P>)>,
        limits: Limits,
        rules: Rules,
    ) -> Option<Replica<P>>
    where
        P: 'a,
    {
        let mut recovery = Recovery::begin(me, base, limits, rules);
        records.into_iter().for_each(|(position, record)| recovery.record(position, record));
        recovery.finish(floor)
    }
}
