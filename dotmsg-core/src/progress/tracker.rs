//! The watermark of one partition under out-of-order completion.
//!
//! Each begun delivery gets a dense sequence number; a ring of offsets, indexed by that number, holds one bit of state
//! per delivery. Completing the oldest pops it (and whatever was done behind it), completing another sets its bit.
//! An offset that is not in the ring is settled or does not exist, so gaps (compaction, transaction markers) and
//! offsets that an earlier record calls settled cost nothing.
//!
//! Two rare cases leave the ring for an ordered map of *strays*: an offset delivered again, and the old deliveries that
//! are still running when the ring has become long and mostly done. Without the second, one follower parked for a
//! day would keep a word for every message that passed it.
//!
//! What must stay true: the front of the ring is never done; offsets in the ring ascend strictly; a stray that holds
//! the watermark back was at or above it when it was begun.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::resume::ResumeMap;

/// Marks a ring entry as done. Offsets are below 2^63 on every backend (Kafka's are `i64`), so the bit is free.
const DONE: u64 = 1 << 63;

/// Entries from which a ring that is mostly done is shortened: 256 KiB. Small in tests, so that they reach the case.
const LONG_RING: usize = if cfg!(test) { 8 } else { 32_768 };

/// The place in a [`Tracker`] of one begun delivery. Valid for the tracker that gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seq(u64);

/// Which offsets of one partition are settled, within one ownership epoch.
///
/// [`begin`](Self::begin) and [`complete`](Self::complete) take a handful of instructions and allocate nothing once the
/// ring has grown to the usual spread of completions. Memory stays proportional to what is outstanding, whatever passes.
#[derive(Debug, Clone)]
pub struct Tracker {
    ring: VecDeque<u64>,
    /// Sequence number of the front of the ring.
    base: u64,
    /// Done entries in the ring.
    done: usize,
    end: u64,
    strays: Strays,
}

impl Tracker {
    /// A tracker for a partition of which every offset below `watermark` is settled and nothing is outstanding.
    #[must_use]
    pub fn new(watermark: u64) -> Self {
        Self {
            ring: VecDeque::new(),
            base: 0,
            done: 0,
            end: watermark,
            strays: Strays::default(),
        }
    }

    /// Notes that the delivery of `offset` is in hand and unsettled until its [`Seq`] is completed.
    ///
    /// Offsets normally ascend; those left out count as settled. An offset that was begun before may be begun again: while
    /// at or above the watermark it is unsettled until each of its deliveries is complete, below it the watermark stays.
    ///
    /// # Panics
    /// If `offset` is 2^63 or more.
    #[inline]
    pub fn begin(&mut self, offset: u64) -> Seq {
        check(offset);
        if offset < self.end || self.ring.len() >= LONG_RING {
            return self.begin_unusual(offset);
        }
        self.push(offset)
    }

    /// The number that [`begin`](Self::begin) would give this offset, if that is an ordinary case: the offset ascends.
    ///
    /// For a delivery that is likely to end at once: it is then told by [`pass`](Self::pass), else by `begin`, before
    /// anything else is begun.
    #[inline]
    #[must_use]
    pub fn peek(&self, offset: u64) -> Option<Seq> {
        check(offset);
        let ordinary = offset >= self.end && self.ring.len() < LONG_RING;
        ordinary.then(|| Seq(self.next_seq()))
    }

    /// Begins and completes the delivery of an offset that [`peek`](Self::peek) gave a number.
    #[inline]
    pub fn pass(&mut self, offset: u64) {
        debug_assert!(offset >= self.end, "only an ordinary offset is passed");
        if self.ring.is_empty() {
            self.base += 1;
        } else {
            self.ring.push_back(DONE | offset);
            self.done += 1;
        }
        self.end = offset + 1;
    }

    /// Settles a begun delivery. Returns false, and changes nothing, when it was not outstanding.
    #[inline]
    pub fn complete(&mut self, seq: Seq) -> bool {
        let index = seq.0.wrapping_sub(self.base);
        if index == 0 && self.ring.pop_front().is_some() {
            self.base += 1;
            if self.done > 0 {
                self.pop_done();
            }
            return true;
        }
        match usize::try_from(index)
            .ok()
            .and_then(|i| self.ring.get_mut(i))
        {
            Some(entry) if *entry & DONE == 0 => {
                *entry |= DONE;
                self.done += 1;
                true
            }
            _ => self.strays.remove(seq.0),
        }
    }

    /// Passes an offset that needs no handling, because an earlier record calls it settled.
    ///
    /// # Panics
    /// If `offset` is 2^63 or more.
    #[inline]
    pub fn skip(&mut self, offset: u64) {
        check(offset);
        // Nothing to record: an offset below the end that is not in the ring is settled.
        self.end = self.end.max(offset + 1);
    }

    /// Every offset below it is settled: the lowest outstanding one, or [`end`](Self::end) when none is. Never moves back.
    #[inline]
    #[must_use]
    pub fn watermark(&self) -> u64 {
        let ring = self.ring.front().copied().unwrap_or(self.end);
        self.strays.lowest().map_or(ring, |stray| stray.min(ring))
    }

    /// One past the highest offset begun or skipped: from there on everything is unsettled.
    #[inline]
    #[must_use]
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Deliveries begun and not complete, an offset delivered twice counting twice.
    #[inline]
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.ring.len() - self.done + self.strays.len()
    }

    /// The unsettled offsets in [`watermark`](Self::watermark)`..`[`end`](Self::end), ascending, each once.
    pub fn unsettled(&self) -> impl Iterator<Item = u64> + '_ {
        let mut ring = self
            .ring
            .iter()
            .copied()
            .filter(|o| o & DONE == 0)
            .peekable();
        let mut strays = self.strays.offsets().peekable();
        let mut last = None;
        std::iter::from_fn(move || {
            loop {
                let next = match (ring.peek(), strays.peek()) {
                    (Some(r), Some(s)) if s < r => strays.next(),
                    (Some(_), _) => ring.next(),
                    (None, _) => strays.next(),
                };
                if next.is_none() || next != last {
                    last = next;
                    return next;
                }
            }
        })
    }

    /// What a position record says of this partition: see [`ResumeMap::followed_by`] for an owner that is still behind
    /// the end of the map that it took over.
    #[must_use]
    pub fn resume_map(&self) -> ResumeMap {
        ResumeMap::from_unsettled(self.watermark(), self.end, self.unsettled())
    }

    #[cfg(test)]
    pub(super) fn ring_len(&self) -> usize {
        self.ring.len()
    }

    #[inline]
    fn push(&mut self, offset: u64) -> Seq {
        let seq = self.next_seq();
        self.ring.push_back(offset);
        self.end = offset + 1;
        Seq(seq)
    }

    fn next_seq(&self) -> u64 {
        self.base + self.ring.len() as u64
    }

    #[cold]
    #[inline(never)]
    fn begin_unusual(&mut self, offset: u64) -> Seq {
        self.shorten();
        if offset >= self.end {
            return self.push(offset);
        }
        // Below the watermark it is settled for good: the delivery is counted, and holds nothing back.
        let holds = (offset >= self.watermark()).then_some(offset);
        let seq = self.next_seq();
        if self.ring.is_empty() {
            self.base += 1;
        } else {
            // Takes up the sequence number; the front is never done, so this entry is never the front.
            self.ring.push_back(DONE | offset);
            self.done += 1;
        }
        self.strays.insert(seq, holds);
        Seq(seq)
    }

    /// Moves the oldest deliveries out of a long ring until no more than half of it is done.
    fn shorten(&mut self) {
        if self.ring.len() < LONG_RING {
            return;
        }
        while self.done * 2 > self.ring.len() {
            let Some(offset) = self.ring.pop_front() else {
                break;
            };
            self.strays.insert(self.base, Some(offset));
            self.base += 1;
            self.pop_done();
        }
    }

    fn pop_done(&mut self) {
        while self.ring.front().is_some_and(|entry| entry & DONE != 0) {
            self.ring.pop_front();
            self.base += 1;
            self.done -= 1;
        }
    }
}

#[inline]
fn check(offset: u64) {
    assert!(
        offset & DONE == 0,
        "an offset is below 2^63; the backend delivered {offset}"
    );
}

/// Outstanding deliveries outside the ring: by sequence number, and by offset those that hold the watermark back.
#[derive(Debug, Clone, Default)]
struct Strays {
    by_seq: BTreeMap<u64, Option<u64>>,
    holding: BTreeSet<(u64, u64)>,
}

impl Strays {
    fn insert(&mut self, seq: u64, holds: Option<u64>) {
        self.by_seq.insert(seq, holds);
        if let Some(offset) = holds {
            self.holding.insert((offset, seq));
        }
    }

    #[cold]
    fn remove(&mut self, seq: u64) -> bool {
        let Some(holds) = self.by_seq.remove(&seq) else {
            return false;
        };
        if let Some(offset) = holds {
            self.holding.remove(&(offset, seq));
        }
        true
    }

    fn lowest(&self) -> Option<u64> {
        self.holding.first().map(|(offset, _)| *offset)
    }

    fn len(&self) -> usize {
        self.by_seq.len()
    }

    fn offsets(&self) -> impl Iterator<Item = u64> + '_ {
        self.holding.iter().map(|(offset, _)| *offset)
    }
}
