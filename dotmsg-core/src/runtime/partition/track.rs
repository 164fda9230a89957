//! Progress through one log under one ownership: what was delivered and settled, on top of what an earlier owner left.

use std::ops::Range;

use crate::progress::{Cursor, ResumeMap, Seq, Tracker};

/// Progress through one log: the source partition, or the replay partition of its number.
#[derive(Debug)]
pub(crate) struct Track {
    pub(super) tracker: Tracker,
    earlier: Cursor,
    earlier_end: u64,
}

impl Track {
    pub(super) fn new(earlier: ResumeMap) -> Self {
        Self {
            tracker: Tracker::new(earlier.watermark()),
            earlier_end: earlier.end(),
            earlier: earlier.into_cursor(),
        }
    }

    /// Notes a delivery; `None`: an earlier owner settled it.
    #[inline]
    pub(super) fn begin(&mut self, offset: u64) -> Option<Seq> {
        if offset < self.earlier_end && self.earlier.is_settled(offset) {
            self.tracker.skip(offset);
            return None;
        }
        Some(self.tracker.begin(offset))
    }

    /// See [`Tracker::peek`]; `None` also for an offset that an earlier owner knew.
    #[inline]
    pub(super) fn peek(&self, offset: u64) -> Option<Seq> {
        if offset < self.earlier_end {
            return None;
        }
        self.tracker.peek(offset)
    }

    /// How many offsets of a range that was removed nobody has settled: those that an earlier owner did are no loss.
    pub(crate) fn unsettled_in(&self, removed: &Range<u64>) -> u64 {
        let beyond = removed
            .end
            .saturating_sub(removed.start.max(self.earlier_end));
        let listed = self.earlier.map().runs().map(|run| {
            run.end
                .min(removed.end)
                .saturating_sub(run.start.max(removed.start))
        });
        beyond + listed.sum::<u64>()
    }

    /// Reading goes on at `start`: nothing below it that was not read yet is there any more.
    pub(crate) fn pass(&mut self, start: u64) {
        if let Some(last) = start.checked_sub(1) {
            self.tracker.skip(last);
        }
    }

    /// The map once the deliveries with these numbers are settled, too.
    pub(super) fn map_after(&self, settled: impl Iterator<Item = Seq>) -> ResumeMap {
        let mut settled = settled.peekable();
        if settled.peek().is_none() {
            return self.map();
        }
        let mut after = self.tracker.clone();
        for seq in settled {
            after.complete(seq);
        }
        after.resume_map().followed_by(self.earlier.map())
    }

    pub(super) fn map(&self) -> ResumeMap {
        self.tracker.resume_map().followed_by(self.earlier.map())
    }

    /// Where reading goes on.
    pub(crate) fn end(&self) -> u64 {
        self.tracker.end()
    }

    /// Every offset below is settled.
    pub(crate) fn watermark(&self) -> u64 {
        self.tracker.watermark()
    }
}
