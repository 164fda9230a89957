//! Lanes: the queue of one key.
//!
//! A key is in hand while a message of it runs, waits for a permit, or is away in a tier; idle keys cost nothing. Keys are
//! found by (partition, key bytes), not by a hash bucket, so that as many of them run at once as there are permits.
//!
//! Most keys have nothing in hand but the one message that runs. For these the slot that it runs in stands in the table,
//! and there is no lane; the lane is made when a second message of the key arrives, or the first one goes away.
//!
//! Waiting messages are an intrusive list in one slab of nodes. This is a pure data structure: it starts nothing.

use bytes::Bytes;
use hashbrown::HashTable;
use slab::Slab;

use crate::middleware::Away;

/// Index of a lane.
pub(crate) type LaneId = usize;

/// Who has a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    /// A lane.
    Lane(LaneId),
    /// The message that runs in this slot, and nothing else.
    Slot(usize),
}

/// A key that is in hand, by its hash.
struct Held {
    hash: u64,
    index: u32,
    is_lane: bool,
}

impl Held {
    fn new(hash: u64, holder: Holder) -> Self {
        let (index, is_lane) = match holder {
            Holder::Lane(index) => (index, true),
            Holder::Slot(index) => (index, false),
        };
        Self {
            hash,
            index: u32::try_from(index).expect("fewer than 2^32 messages are in hand"),
            is_lane,
        }
    }

    fn holder(&self) -> Holder {
        match self.is_lane {
            true => Holder::Lane(self.index as usize),
            false => Holder::Slot(self.index as usize),
        }
    }
}

const NIL: usize = usize::MAX;

/// The copy in a tier that an away lane waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AwayName {
    /// The tier's delay in milliseconds.
    pub(crate) delay_ms: u64,
    /// The offset in the tier partition.
    pub(crate) offset: u64,
}

/// What a lane is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LaneState {
    /// Its head waits for a permit.
    Ready,
    /// Its head runs.
    Running,
    /// Its head waits in a tier; followers wait here.
    Away(AwayName),
}

/// One lane.
#[derive(Debug)]
pub(crate) struct Lane {
    key: Option<Bytes>,
    hash: u64,
    /// Index of the partition it belongs to.
    pub(crate) partition: u32,
    /// What it is doing.
    pub(crate) state: LaneState,
    /// Nothing more is started from it.
    pub(crate) stopped: bool,
    /// While another away head of its key is due or runs (they are several where order was relaxed before): the head that
    /// its followers wait for, which is away still.
    pub(crate) behind: Option<AwayName>,
    /// Messages of it that run together, in a batch; 0 where messages run one at a time.
    pub(crate) running: u32,
    /// Messages that were started together since it last had none running.
    pub(crate) started: u32,
    /// The batch that they are in, by its number.
    pub(crate) gathering: u64,
    /// What one of them came to that went away.
    pub(crate) away: Option<Away>,
    /// One of them was interrupted, and its partition's stop is yet to arrive.
    pub(crate) interrupted: bool,
    head: usize,
    tail: usize,
    /// Messages waiting.
    pub(crate) len: usize,
    /// Their bytes.
    pub(crate) bytes: usize,
}

impl Lane {
    /// Whether it can be found by a key; else it is the lane of one message.
    pub(crate) fn is_keyed(&self) -> bool {
        self.key.is_some()
    }
}

struct Node<T> {
    item: T,
    size: usize,
    next: usize,
    /// Of a message that was put back: its place among those that ran together.
    place: u32,
}

/// The place of a message that has not run.
const LAST: u32 = u32::MAX;

/// All lanes of one worker.
pub(crate) struct Lanes<T> {
    table: HashTable<Held>,
    lanes: Slab<Lane>,
    nodes: Slab<Node<T>>,
}

impl<T> Lanes<T> {
    /// No lanes.
    pub(crate) fn new() -> Self {
        Self {
            table: HashTable::new(),
            lanes: Slab::new(),
            nodes: Slab::new(),
        }
    }

    /// Whether no key is in hand, so that a look-up (and its hash) can be spared.
    pub(crate) fn no_keys(&self) -> bool {
        self.table.is_empty()
    }

    /// Who has a key of a partition; `runs_in` says whether it is the key of the message in a slot.
    #[inline]
    pub(crate) fn find(
        &self,
        hash: u64,
        partition: u32,
        key: &[u8],
        runs_in: impl Fn(usize) -> bool,
    ) -> Option<Holder> {
        let is_it = |held: &Held| {
            held.hash == hash
                && match held.holder() {
                    Holder::Slot(slot) => runs_in(slot),
                    Holder::Lane(id) => {
                        let lane = &self.lanes[id];
                        lane.partition == partition && lane.key.as_deref() == Some(key)
                    }
                }
        };
        self.table.find(hash, is_it).map(Held::holder)
    }

    /// A message of a key that nobody has runs in a slot.
    #[inline(always)]
    pub(crate) fn begin_alone(&mut self, hash: u64, slot: usize) {
        self.insert(Held::new(hash, Holder::Slot(slot)));
    }

    /// The message has ended, and nothing else of its key arrived meanwhile.
    #[inline(always)]
    pub(crate) fn end_alone(&mut self, hash: u64, slot: usize) {
        self.remove(hash, Holder::Slot(slot));
    }

    /// Makes the lane of a key that a slot has stood for; the message in the slot is its head.
    pub(crate) fn widen(
        &mut self,
        hash: u64,
        slot: usize,
        partition: u32,
        key: Bytes,
        state: LaneState,
    ) -> LaneId {
        self.end_alone(hash, slot);
        self.open(hash, partition, Some(key), state)
    }

    /// Opens a lane. Without a key it cannot be found again: it is the lane of one message.
    pub(crate) fn open(
        &mut self,
        hash: u64,
        partition: u32,
        key: Option<Bytes>,
        state: LaneState,
    ) -> LaneId {
        let keyed = key.is_some();
        let id = self.lanes.insert(Lane {
            key,
            hash,
            partition,
            state,
            stopped: false,
            behind: None,
            running: 0,
            started: 0,
            gathering: 0,
            away: None,
            interrupted: false,
            head: NIL,
            tail: NIL,
            len: 0,
            bytes: 0,
        });
        if keyed {
            self.insert(Held::new(hash, Holder::Lane(id)));
        }
        id
    }

    #[inline(always)]
    fn insert(&mut self, held: Held) {
        // Keys come and go with every message. A sparse table takes that in place; a dense one fills with the marks of
        // removed entries and is rebuilt again and again.
        if self.table.len() * 4 >= self.table.capacity() {
            self.make_room();
        }
        self.table.insert_unique(held.hash, held, |held| held.hash);
    }

    #[cold]
    fn make_room(&mut self) {
        let room = self.table.len() * 7 + 64;
        self.table.reserve(room, |held| held.hash);
    }

    #[inline(always)]
    fn remove(&mut self, hash: u64, holder: Holder) {
        match self.table.find_entry(hash, |held| held.holder() == holder) {
            Ok(entry) => drop(entry.remove()),
            Err(_) => debug_assert!(false, "a key in hand is in the table"),
        }
    }

    /// A lane.
    pub(crate) fn get(&mut self, id: LaneId) -> &mut Lane {
        &mut self.lanes[id]
    }

    /// Appends a message.
    pub(crate) fn push_back(&mut self, id: LaneId, item: T, size: usize) {
        let node = self.nodes.insert(Node {
            item,
            size,
            next: NIL,
            place: LAST,
        });
        let lane = &mut self.lanes[id];
        match lane.tail {
            NIL => lane.head = node,
            tail => self.nodes[tail].next = node,
        }
        lane.tail = node;
        lane.len += 1;
        lane.bytes += size;
    }

    /// Puts a message before all others: an away head that is due.
    pub(crate) fn push_front(&mut self, id: LaneId, item: T, size: usize) {
        let lane = &mut self.lanes[id];
        let node = self.nodes.insert(Node {
            item,
            size,
            next: lane.head,
            place: LAST,
        });
        lane.head = node;
        if lane.tail == NIL {
            lane.tail = node;
        }
        lane.len += 1;
        lane.bytes += size;
    }

    /// Puts a message back that ran in this place among others: before those that have not run, behind those that were
    /// put back and ran before it.
    pub(crate) fn put_back(&mut self, id: LaneId, place: u32, item: T, size: usize) {
        let lane = &mut self.lanes[id];
        let (mut before, mut next) = (NIL, lane.head);
        while next != NIL && self.nodes[next].place < place {
            (before, next) = (next, self.nodes[next].next);
        }
        let node = self.nodes.insert(Node {
            item,
            size,
            next,
            place,
        });
        match before {
            NIL => lane.head = node,
            before => self.nodes[before].next = node,
        }
        if next == NIL {
            lane.tail = node;
        }
        lane.len += 1;
        lane.bytes += size;
    }

    /// Everything of it may wait for hours: copies its key, and lets `detach` do the same with what waits.
    #[cold]
    pub(crate) fn detach(&mut self, id: LaneId, mut detach: impl FnMut(&mut T)) {
        let lane = &mut self.lanes[id];
        lane.key = lane.key.take().map(|key| Bytes::copy_from_slice(&key));
        let mut next = lane.head;
        while next != NIL {
            let node = &mut self.nodes[next];
            detach(&mut node.item);
            next = node.next;
        }
    }

    /// The first message.
    pub(crate) fn first(&self, id: LaneId) -> Option<&T> {
        let node = self.nodes.get(self.lanes[id].head)?;
        Some(&node.item)
    }

    /// Takes the first message.
    pub(crate) fn pop(&mut self, id: LaneId) -> Option<T> {
        let lane = &mut self.lanes[id];
        if lane.head == NIL {
            return None;
        }
        let node = self.nodes.remove(lane.head);
        lane.head = node.next;
        if lane.head == NIL {
            lane.tail = NIL;
        }
        lane.len -= 1;
        lane.bytes -= node.size;
        Some(node.item)
    }

    /// A message that ran is dropped; with the last one, the lane is closed.
    pub(crate) fn leave(&mut self, id: LaneId) {
        let lane = &mut self.lanes[id];
        lane.running = lane.running.saturating_sub(1);
        if lane.running == 0 {
            self.close(id);
        }
    }

    /// Closes a lane without waiting messages.
    pub(crate) fn close(&mut self, id: LaneId) {
        let lane = self.lanes.remove(id);
        debug_assert_eq!(
            lane.len, 0,
            "a lane is closed only when nothing waits in it"
        );
        if lane.key.is_some() {
            self.remove(lane.hash, Holder::Lane(id));
        }
    }

    /// Drops everything that waits in a partition's lanes. Lanes whose head runs stay, stopped; the others close.
    pub(crate) fn stop_partition(&mut self, partition: u32) {
        let of_partition: Vec<LaneId> = self
            .lanes
            .iter()
            .filter(|(_, lane)| lane.partition == partition)
            .map(|(id, _)| id)
            .collect();
        for id in of_partition {
            while self.pop(id).is_some() {}
            let lane = &mut self.lanes[id];
            lane.stopped = true;
            lane.interrupted = false;
            if lane.state != LaneState::Running {
                self.close(id);
            }
        }
    }

    /// Whether the lane still exists (a queue of lane numbers may outlive one that was stopped).
    pub(crate) fn contains(&self, id: LaneId) -> bool {
        self.lanes.contains(id)
    }

    /// Lanes that exist.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.lanes.len()
    }
}

impl<T> std::fmt::Debug for Lanes<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lanes")
            .field("lanes", &self.lanes.len())
            .field("waiting", &self.nodes.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, VecDeque};

    #[test]
    fn stopping_a_partition_drops_what_waits_and_keeps_what_runs() {
        let mut lanes = Lanes::new();
        let running = lanes.open(1, 0, Some("a".into()), LaneState::Running);
        let away = AwayName {
            delay_ms: 5,
            offset: 1,
        };
        let parked = lanes.open(2, 0, Some("b".into()), LaneState::Away(away));
        let other = lanes.open(3, 1, Some("c".into()), LaneState::Ready);
        for (lane, item) in [(running, 1), (parked, 2), (other, 3)] {
            lanes.push_back(lane, item, 10);
        }
        lanes.stop_partition(0);
        let find = |lanes: &Lanes<_>, hash, key: &[u8]| lanes.find(hash, 0, key, |_| false);
        assert_eq!(find(&lanes, 1, b"a"), Some(Holder::Lane(running)));
        assert!(lanes.get(running).stopped);
        assert_eq!(lanes.pop(running), None);
        assert_eq!(find(&lanes, 2, b"b"), None);
        assert_eq!(lanes.pop(other), Some(3));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// Against a map of queues; two hash values for eight keys, so that collisions are the rule. A key that is alone
        /// runs in the slot of its own number.
        #[test]
        fn behaves_like_a_map_of_queues(ops in prop::collection::vec((0u8..6, 0u8..8, 0usize..100), 1..200)) {
            let mut lanes = Lanes::new();
            let mut model: BTreeMap<u8, Option<VecDeque<usize>>> = BTreeMap::new();
            for (op, key, item) in ops {
                let hash = u64::from(key % 2);
                let slot = usize::from(key);
                let found = lanes.find(hash, 0, &[key], |slot| slot == usize::from(key));
                let bytes = || Bytes::copy_from_slice(&[key]);
                prop_assert_eq!(found.is_some(), model.contains_key(&key));
                prop_assert_eq!(found == Some(Holder::Slot(slot)), model.get(&key) == Some(&None));
                match (op, found) {
                    (0 | 1, found) => {
                        let id = match found {
                            Some(Holder::Lane(id)) => id,
                            Some(Holder::Slot(slot)) => lanes.widen(hash, slot, 0, bytes(), LaneState::Running),
                            None => lanes.open(hash, 0, Some(bytes()), LaneState::Ready),
                        };
                        let queue = model.entry(key).or_default().get_or_insert_default();
                        if op == 0 {
                            lanes.push_back(id, item, item);
                            queue.push_back(item);
                        } else {
                            lanes.push_front(id, item, item);
                            queue.push_front(item);
                        }
                        prop_assert_eq!(lanes.get(id).len, queue.len());
                        prop_assert_eq!(lanes.get(id).bytes, queue.iter().sum::<usize>());
                    }
                    (2, Some(Holder::Lane(id))) => {
                        let queue = model.get_mut(&key).unwrap().as_mut().unwrap();
                        prop_assert_eq!(lanes.pop(id), queue.pop_front());
                    }
                    (3, Some(Holder::Lane(id))) => {
                        while lanes.pop(id).is_some() {}
                        lanes.close(id);
                        model.remove(&key);
                    }
                    (4, None) => {
                        lanes.begin_alone(hash, slot);
                        model.insert(key, None);
                    }
                    (5, Some(Holder::Slot(slot))) => {
                        lanes.end_alone(hash, slot);
                        model.remove(&key);
                    }
                    _ => {}
                }
                prop_assert_eq!(lanes.len(), model.values().flatten().count());
                prop_assert_eq!(lanes.no_keys(), model.is_empty());
            }
        }
    }
}
