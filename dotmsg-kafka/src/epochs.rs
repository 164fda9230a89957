//! Under which leader epoch the records of a partition were appended.
//!
//! A commit carries the epoch of the record before its offset, and a read that starts there asks the broker whether that epoch
//! still reaches so far (KIP-320): that is how a log that was cut short by an unclean election is noticed although it is long
//! enough again. Epochs only rise with offsets, so what is kept is where each began: one entry most of the time.

use std::collections::VecDeque;

/// Enough for the leaders that a partition has had within what is read and not committed. Older ones are forgotten first: a
/// commit without an epoch is only not checked.
const MOST: usize = 32;

/// Where each leader epoch of a partition began, as far as it was seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Epochs(VecDeque<(u64, i32)>);

impl Epochs {
    /// The record at `offset` has this epoch.
    pub(crate) fn saw(&mut self, offset: u64, epoch: i32) {
        // Read again from earlier on: what was seen from there on may not be true any more.
        while self.0.back().is_some_and(|(start, _)| *start > offset) {
            self.0.pop_back();
        }
        if self.0.back().is_none_or(|(_, last)| *last != epoch) {
            self.0.push_back((offset, epoch));
        }
        if self.0.len() > MOST {
            self.0.pop_front();
        }
    }

    /// The epoch of the record before `offset`, if it was seen.
    pub(crate) fn before(&self, offset: u64) -> Option<i32> {
        let before = offset.checked_sub(1)?;
        let reached = self.0.iter().rev().find(|(start, _)| *start <= before);
        reached.map(|(_, epoch)| *epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_epoch_before_an_offset_is_that_of_the_last_record_below_it() {
        let mut epochs = Epochs::default();
        for (offset, epoch) in [(10, 1), (11, 1), (20, 2), (25, 4)] {
            epochs.saw(offset, epoch);
        }
        let before = [0, 10, 11, 20, 21, 26].map(|offset| epochs.before(offset));
        assert_eq!(before, [None, None, Some(1), Some(1), Some(2), Some(4)]);
    }

    #[test]
    fn reading_again_from_earlier_forgets_what_came_after() {
        let mut epochs = Epochs::default();
        for (offset, epoch) in [(10, 1), (20, 2), (15, 3)] {
            epochs.saw(offset, epoch);
        }
        assert_eq!(epochs.before(30), Some(3));
        assert_eq!(epochs.before(15), Some(1));
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
