//! Who has an id, and which ids are known: it decides, and holds no clock and no lock.
//!
//! Entries lie in a slab. Those of handled messages are a list in the order of their success, which is that of their expiry too:
//! so what is to be forgotten is always at its beginning, and each step costs the same however many there are. (A growth of slab or
//! index is paid for by the entries that it makes room for.)
//!
//! What must stay true: an entry is in the list if and only if it is handled, in the index if and only if it is not free.

use std::fmt;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry as Place;

use super::id::{Id, Sought};

/// No entry.
const NONE: u32 = u32::MAX;
/// When it was handled, for an entry that is being handled, or is free.
const RUNNING: u64 = u64::MAX;
const FREE: u64 = u64::MAX - 1;
/// Bytes of long ids for each id that may be remembered.
const LONG_SHARE: usize = 128;
/// Free entries that keep the memory of their long id for the next one.
const WARM: usize = 64;

struct Entry {
    id: Id,
    hash: u64,
    /// When it was handled, in milliseconds, or what else it is.
    handled_ms: u64,
    /// The next one in the list of handled or free entries.
    next: u32,
    /// How often it was freed: a claim of before is no claim of it.
    generation: u32,
}

/// What a claim came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claimed {
    Granted(u64),
    Handled,
    /// It is claimed by this.
    Running(u64),
}

pub(super) struct Table {
    max_ids: usize,
    keep_ms: u64,
    index: HashTable<u32>,
    entries: Vec<Entry>,
    /// The ends of the list of handled entries.
    oldest: u32,
    newest: u32,
    free: u32,
    handled: usize,
    /// Memory of long ids of handled messages.
    long_bytes: usize,
}

impl Table {
    pub(super) fn new(max_ids: usize, keep_ms: u64) -> Self {
        assert!(max_ids > 0, "nothing could be remembered");
        assert!(max_ids < NONE as usize, "entries are counted in 32 bits");
        Self {
            max_ids,
            keep_ms,
            index: HashTable::new(),
            entries: Vec::new(),
            oldest: NONE,
            newest: NONE,
            free: NONE,
            handled: 0,
            long_bytes: 0,
        }
    }

    pub(super) fn handled(&self) -> usize {
        self.handled
    }

    /// Claims an id. The time is asked for only when there is an entry of it.
    #[inline]
    pub(super) fn claim(
        &mut self,
        hash: u64,
        id: &Sought<'_>,
        now: impl FnOnce() -> u64,
    ) -> Claimed {
        if self.free == NONE {
            self.add();
        }
        let entries = &self.entries;
        let is_it = |slot: &u32| {
            let entry = &entries[*slot as usize];
            entry.hash == hash && entry.id.is(id)
        };
        let hash_of = |slot: &u32| entries[*slot as usize].hash;
        match self.index.entry(hash, is_it, hash_of) {
            Place::Vacant(place) => {
                let slot = self.free;
                let entry = &mut self.entries[slot as usize];
                self.free = entry.next;
                entry.id.set(id);
                entry.hash = hash;
                entry.handled_ms = RUNNING;
                place.insert(slot);
                Claimed::Granted(token(slot, entry))
            }
            Place::Occupied(place) => {
                let slot = *place.get();
                self.claim_again(slot, hash, id, now())
            }
        }
    }

    /// Claims an id that there is an entry of.
    #[cold]
    fn claim_again(&mut self, slot: u32, hash: u64, id: &Sought<'_>, now: u64) -> Claimed {
        let entry = &self.entries[slot as usize];
        if entry.handled_ms == RUNNING {
            return Claimed::Running(token(slot, entry));
        }
        if !self.is_expired(slot, now) {
            return Claimed::Handled;
        }
        while self.is_known(slot) {
            self.forget_oldest();
        }
        self.claim(hash, id, || now)
    }

    /// The claim of a message that was handled.
    #[inline]
    pub(super) fn succeed(&mut self, token: u64, now: u64) {
        let Some(slot) = self.running(token) else {
            return;
        };
        let entry = &mut self.entries[slot as usize];
        entry.handled_ms = now.min(FREE - 1);
        entry.next = NONE;
        match self.newest {
            NONE => self.oldest = slot,
            newest => self.entries[newest as usize].next = slot,
        }
        self.newest = slot;
        self.handled += 1;
        self.long_bytes += self.entries[slot as usize].id.own_bytes();
        if self.handled > self.max_ids {
            self.forget_oldest();
        } else if self.is_expired(self.oldest, now) {
            self.forget_expired(now);
        }
        while self.long_bytes > self.max_ids * LONG_SHARE && self.handled > 1 {
            self.forget_oldest();
        }
    }

    /// The claim of one that was not.
    pub(super) fn release(&mut self, token: u64) {
        if let Some(slot) = self.running(token) {
            self.free(slot);
        }
    }

    /// Adds a free entry.
    #[cold]
    fn add(&mut self) {
        if self.entries.len() == self.entries.capacity() {
            // Doubling, but not beyond what there may be: that would be twice the memory.
            let len = self.entries.len();
            let left = (self.max_ids + 1).saturating_sub(len);
            self.entries.reserve_exact(len.min(left).max(16));
        }
        // Twice the room: an index that is nearly full is gone through again and again to find the places that were left.
        let entries = &self.entries;
        let hash_of = |slot: &u32| entries[*slot as usize].hash;
        self.index.reserve(self.index.len(), hash_of);
        let slot = u32::try_from(self.entries.len()).expect("fewer messages run than that");
        self.entries.push(Entry {
            id: Id::EMPTY,
            hash: 0,
            handled_ms: FREE,
            next: self.free,
            generation: 0,
        });
        self.free = slot;
    }

    /// The entry of a claim that has not ended.
    fn running(&self, token: u64) -> Option<u32> {
        let slot = token as u32;
        let entry = self.entries.get(slot as usize)?;
        (entry.handled_ms == RUNNING && self::token(slot, entry) == token).then_some(slot)
    }

    fn is_known(&self, slot: u32) -> bool {
        self.entries[slot as usize].handled_ms < FREE
    }

    fn is_expired(&self, slot: u32, now: u64) -> bool {
        let at = self.entries[slot as usize].handled_ms;
        now >= at.saturating_add(self.keep_ms)
    }

    /// More than a success adds, so that they vanish, and few, so that it is quick.
    #[cold]
    fn forget_expired(&mut self, now: u64) {
        for _ in 0..2 {
            if self.oldest != NONE && self.is_expired(self.oldest, now) {
                self.forget_oldest();
            }
        }
    }

    fn forget_oldest(&mut self) {
        let slot = self.oldest;
        let entry = &self.entries[slot as usize];
        self.oldest = entry.next;
        self.long_bytes -= entry.id.own_bytes();
        if self.oldest == NONE {
            self.newest = NONE;
        }
        self.handled -= 1;
        self.free(slot);
    }

    fn free(&mut self, slot: u32) {
        let entry = &mut self.entries[slot as usize];
        entry.handled_ms = FREE;
        entry.generation = entry.generation.wrapping_add(1);
        entry.next = self.free;
        self.free = slot;
        let found = self.index.find_entry(entry.hash, |other| *other == slot);
        found.expect("it is in the index").remove();
        if self.entries.len() - self.index.len() > WARM {
            self.entries[slot as usize].id = Id::EMPTY;
        }
    }
}

fn token(slot: u32, entry: &Entry) -> u64 {
    u64::from(entry.generation) << 32 | u64::from(slot)
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table")
            .field("max_ids", &self.max_ids)
            .field("keep_ms", &self.keep_ms)
            .field("handled", &self.handled)
            .field("entries", &self.entries.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_as_large_as_the_documentation_says() {
        assert_eq!(size_of::<Entry>(), 64);
    }
}
