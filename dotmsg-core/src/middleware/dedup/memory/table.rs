//! Who has an id, and which ids are known: it decides, and holds no clock and no lock.
//!
//! Entries lie in a slab. Those of handled messages are a list in the order of their success, which is that of their expiry too:
//! so what is to be forgotten is always at its beginning, and each step costs the same however many there are. (A growth of slab or
//! index is paid for by the entries that it makes room for.)
//!
//! What must stay true: an entry is in the list if and only if it is handled, in the index if and only if it is not free.

use std::fmt;

use hashbrown::HashTable;

use super::id::Id;

/// No entry.
const NONE: u32 = u32::MAX;
/// When it was handled, for an entry that is being handled, or is free.
const RUNNING: u64 = u64::MAX;
const FREE: u64 = u64::MAX - 1;
/// Bytes of long ids for each id that may be remembered.
const LONG_SHARE: usize = 128;
/// Free entries that keep the memory of their long id for the next one.
const WARM: usize = 64;
/// Expired entries that a success forgets: more than it adds, so that they vanish, and few, so that it is quick.
const EXPIRED_AT_ONCE: usize = 2;

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

    /// Claims an id. The time is asked for only when it was handled.
    #[inline]
    pub(super) fn claim(&mut self, hash: u64, id: &[u8], now: impl FnOnce() -> u64) -> Claimed {
        let entries = &self.entries;
        let is_it = |slot: &u32| {
            let entry = &entries[*slot as usize];
            entry.hash == hash && entry.id.as_bytes() == id
        };
        if let Some(slot) = self.index.find(hash, is_it).copied() {
            if self.entries[slot as usize].handled_ms == RUNNING {
                return Claimed::Running(self.token(slot));
            }
            let now = now();
            if !self.is_expired(slot, now) {
                return Claimed::Handled;
            }
            while self.is_known(slot) {
                self.forget_oldest();
            }
        }
        self.begin(hash, id)
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
        for _ in 0..EXPIRED_AT_ONCE {
            if self.oldest != NONE && self.is_expired(self.oldest, now) {
                self.forget_oldest();
            }
        }
        while self.handled > self.max_ids {
            self.forget_oldest();
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

    fn begin(&mut self, hash: u64, id: &[u8]) -> Claimed {
        let slot = match self.free {
            NONE => self.add(),
            slot => slot,
        };
        let entry = &mut self.entries[slot as usize];
        self.free = entry.next;
        entry.id.set(id);
        entry.hash = hash;
        entry.handled_ms = RUNNING;
        let entries = &self.entries;
        let hash_of = |slot: &u32| entries[*slot as usize].hash;
        self.index.insert_unique(hash, slot, hash_of);
        Claimed::Granted(self.token(slot))
    }

    #[cold]
    fn add(&mut self) -> u32 {
        if self.entries.len() == self.entries.capacity() {
            // Doubling, but not beyond what there may be: that would be twice the memory.
            let len = self.entries.len();
            let left = (self.max_ids + 1).saturating_sub(len);
            self.entries.reserve_exact(len.min(left).max(16));
        }
        let slot = u32::try_from(self.entries.len()).expect("fewer messages run than that");
        self.entries.push(Entry {
            id: Id::EMPTY,
            hash: 0,
            handled_ms: FREE,
            next: NONE,
            generation: 0,
        });
        slot
    }

    /// The entry of a claim that has not ended.
    fn running(&self, token: u64) -> Option<u32> {
        let slot = token as u32;
        let entry = self.entries.get(slot as usize)?;
        (entry.handled_ms == RUNNING && self.token(slot) == token).then_some(slot)
    }

    fn token(&self, slot: u32) -> u64 {
        u64::from(self.entries[slot as usize].generation) << 32 | u64::from(slot)
    }

    fn is_known(&self, slot: u32) -> bool {
        self.entries[slot as usize].handled_ms < FREE
    }

    fn is_expired(&self, slot: u32, now: u64) -> bool {
        let at = self.entries[slot as usize].handled_ms;
        now >= at.saturating_add(self.keep_ms)
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
