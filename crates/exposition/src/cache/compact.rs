//! Gives back the room of lines that were forgotten.

use std::hash::Hash;

use hashbrown::HashTable;

use super::{Kind, NONE, Remembered, ScrapeCache, index, number};

impl<T: Hash + Eq> ScrapeCache<T> {
    /// Puts slots and texts together again, in the order of the page as far as it is known.
    #[cold]
    pub(super) fn compact(&mut self) {
        let mut old: Vec<Option<Remembered<T>>> = std::mem::take(&mut self.slots).into_iter().map(Some).collect();
        let mut order = Vec::with_capacity(old.len() - self.free.len());
        let mut take = |at: u32| {
            let slot = old.get_mut(index(at))?.take()?;
            let next = slot.next;
            if !matches!(slot.kind, Kind::Free) {
                order.push(slot);
            }
            Some(next)
        };
        let mut at = self.first;
        while let Some(next) = take(at) {
            at = next;
        }
        let in_chain = order.len();
        let rest =
            (0..).take(old.len()).filter_map(|at: usize| old[at].take()).filter(|s| !matches!(s.kind, Kind::Free));
        order.extend(rest);
        self.rebuild(order, in_chain);
    }

    /// Takes over `order` as all slots; the first `in_chain` follow each other.
    fn rebuild(&mut self, mut order: Vec<Remembered<T>>, in_chain: usize) {
        let mut arena = Vec::with_capacity(self.arena.len() - self.freed_bytes);
        self.index.clear();
        self.first = if in_chain > 0 { 0 } else { NONE };
        for (at, slot) in order.iter_mut().enumerate() {
            let text = &self.arena[index(slot.offset)..][..index(slot.length)];
            slot.offset = number(arena.len());
            slot.next = if at + 1 < in_chain { number(at + 1) } else { NONE };
            arena.extend_from_slice(text);
        }
        self.arena = arena;
        self.slots = order;
        self.free = Vec::new();
        self.freed_bytes = 0;
        let mut table = HashTable::with_capacity(self.slots.len());
        for (at, slot) in (0u32..).zip(&self.slots) {
            table.insert_unique(self.hash(self.text(slot)), at, |n| self.hash(self.text(&self.slots[index(*n)])));
        }
        self.index = table;
    }
}
