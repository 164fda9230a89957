//! Under which leader epoch the records of a partition were appended.
//!
//! A commit carries the epoch of the record before its offset, and a read that starts there asks the broker whether that epoch
//! still reaches so far (KIP-320): that is how a log that was cut short by an unclean election is noticed although it is long
//! enough again. An epoch that is too low would make every log look cut short, so one is said only where it is known. Only both ends of
//! what is read at once are looked at: epochs never fall with offsets, so what lies between two records of one epoch is of
//! it, and what lies between two of different ones is of either.

use std::collections::VecDeque;

/// Enough for the leaders that a partition has had within what is read and not committed. Older ones are forgotten first: a
/// commit without an epoch is only not checked.
const MOST: usize = 32;

/// Records of one leader epoch: the first and the last that were seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    first: u64,
    last: u64,
    epoch: i32,
}

/// The leader epochs of a partition, as far as they were seen; ascending.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Epochs(VecDeque<Span>);

impl Epochs {
    /// The record at `offset` has this epoch.
    pub(crate) fn saw(&mut self, offset: u64, epoch: i32) {
        // Read again from earlier on: what was seen from there on may not be true any more.
        while self.0.back().is_some_and(|span| span.first >= offset) {
            self.0.pop_back();
        }
        match self.0.back_mut() {
            Some(span) if span.epoch == epoch => span.last = offset,
            known => {
                if let Some(span) = known {
                    span.last = span.last.min(offset - 1);
                }
                self.0.push_back(Span {
                    first: offset,
                    last: offset,
                    epoch,
                });
            }
        }
        if self.0.len() > MOST {
            self.0.pop_front();
        }
    }

    /// The epoch of the record before `offset`, if it is known.
    pub(crate) fn before(&self, offset: u64) -> Option<i32> {
        let before = offset.checked_sub(1)?;
        let reached = self.0.iter().rev().find(|span| span.first <= before)?;
        (before <= reached.last).then_some(reached.epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_epoch_before_an_offset_is_that_of_the_record_there() {
        let mut epochs = Epochs::default();
        for (offset, epoch) in [(10, 1), (13, 1), (20, 2), (25, 4)] {
            epochs.saw(offset, epoch);
        }
        let before = [0, 10, 11, 12, 14, 21, 26].map(|offset| epochs.before(offset));
        let [first, second, last] = [Some(1), Some(2), Some(4)];
        assert_eq!(before, [None, None, first, first, first, second, last]);
    }

    #[test]
    fn between_records_of_two_epochs_and_behind_the_last_one_none_is_known() {
        let mut epochs = Epochs::default();
        for (offset, epoch) in [(10, 1), (20, 2)] {
            epochs.saw(offset, epoch);
        }
        assert_eq!(
            [12, 15, 20, 22].map(|offset| epochs.before(offset)),
            [None; 4]
        );
    }

    #[test]
    fn reading_again_from_earlier_forgets_what_came_after() {
        let mut epochs = Epochs::default();
        for (offset, epoch) in [(10, 1), (20, 1), (25, 2), (15, 3)] {
            epochs.saw(offset, epoch);
        }
        assert_eq!(epochs.before(15), Some(1));
        assert_eq!(epochs.before(16), Some(3));
        assert_eq!(epochs.before(26), None);
        epochs.saw(12, 1);
        assert_eq!(epochs.before(13), Some(1));
        assert_eq!(epochs.before(14), None, "it may be another one by now");
    }

    #[test]
    fn it_stays_small() {
        let mut epochs = Epochs::default();
        for n in 0..100_u32 {
            epochs.saw(u64::from(n), i32::try_from(n).unwrap());
        }
        assert_eq!(epochs.0.len(), MOST);
        assert_eq!(epochs.before(100), Some(99));
    }
}
