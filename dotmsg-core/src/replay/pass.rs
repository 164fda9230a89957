//! One pass over a partition of a dead-letter topic: what is settled of it afterwards.
//!
//! A pure state machine. What must stay true: an offset that holds a dead letter is settled only if it was before or was
//! replayed or discarded in this pass; what lies ahead of the pass stays as it was found.

use std::ops::Range;

use crate::backend::OffsetRange;
use crate::progress::ResumeMap;

/// What was settled before, and what this pass adds.
#[derive(Debug, Clone)]
pub(super) struct Pass {
    before: ResumeMap,
    /// Everything below it is through.
    at: u64,
    unsettled: Vec<Range<u64>>,
}

impl Pass {
    /// Begins at the first record of a partition that holds `range`; and how many unsettled dead letters are missing below it.
    pub(super) fn begin(mut before: ResumeMap, range: OffsetRange) -> (Self, u64) {
        // A topic that was cut short gives these offsets to other records.
        before.cut(range.end);
        let removed = before.unsettled_in(0..range.start);
        let pass = Self {
            before,
            at: range.start,
            unsettled: Vec::new(),
        };
        (pass, removed)
    }

    /// Passes over what is settled up to here, or was.
    pub(super) fn skip_to(&mut self, at: u64) {
        self.at = self.at.max(at);
    }

    /// Every offset below it was settled before.
    pub(super) fn watermark(&self) -> u64 {
        self.before.watermark()
    }

    /// Whether an earlier run is through with it.
    pub(super) fn was_settled(&self, offset: u64) -> bool {
        self.before.is_settled(offset)
    }

    /// How many of these offsets were settled before.
    pub(super) fn settled_before_in(&self, range: Range<u64>) -> u64 {
        let all = range.end.saturating_sub(range.start);
        all - self.before.unsettled_in(range)
    }

    /// The dead letter at the next offset is through. Offsets that are left out between two calls hold none.
    pub(super) fn pass(&mut self, offset: u64, done: bool) {
        debug_assert!(offset >= self.at, "offsets ascend");
        self.at = offset + 1;
        if done || self.was_settled(offset) {
            return;
        }
        match self.unsettled.last_mut() {
            Some(run) if run.end == offset => run.end += 1,
            _ => self.unsettled.push(offset..offset + 1),
        }
    }

    /// Offsets that are gone without having been passed; gives how many of them were unsettled.
    pub(super) fn removed(&mut self, range: Range<u64>) -> u64 {
        self.skip_to(range.end);
        self.before.unsettled_in(range)
    }

    /// What is settled now.
    pub(super) fn map(&self) -> ResumeMap {
        ResumeMap::from_runs(self.at, self.unsettled.iter().cloned()).followed_by(&self.before)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn range(start: u64, end: u64) -> OffsetRange {
        OffsetRange { start, end }
    }

    #[test]
    fn what_retention_removed_is_told_once() {
        let (pass, removed) = Pass::begin(ResumeMap::default(), range(3, 10));
        assert_eq!(removed, 3);
        let (_, removed) = Pass::begin(pass.map(), range(3, 10));
        assert_eq!(removed, 0);
        let (_, removed) = Pass::begin(pass.map(), range(5, 10));
        assert_eq!(removed, 2);
    }

    #[test]
    fn a_topic_that_was_cut_short_has_new_letters_at_old_offsets() {
        let (mut pass, _) = Pass::begin(ResumeMap::default(), range(0, 10));
        (0..10).for_each(|offset| pass.pass(offset, true));
        let (pass, removed) = Pass::begin(pass.map(), range(0, 4));
        assert_eq!((removed, pass.watermark()), (0, 4));
        assert!(!pass.was_settled(4));
    }

    proptest! {
        /// Runs over a topic without gaps, each choosing its letters and stopping somewhere, against a set.
        #[test]
        fn settled_is_what_some_run_has_replayed(
            runs in prop::collection::vec((prop::collection::vec(any::<bool>(), 12), 0u64..=12, any::<bool>()), 1..6),
        ) {
            let mut map = ResumeMap::default();
            let mut model: BTreeSet<u64> = BTreeSet::new();
            for (chosen, stop, again) in runs {
                let (mut pass, _) = Pass::begin(map, range(0, 12));
                if !again {
                    pass.skip_to(pass.watermark());
                }
                let from = if again { 0 } else { pass.watermark() };
                for offset in from..stop {
                    let replays = chosen[offset as usize] && (again || !pass.was_settled(offset));
                    if replays {
                        model.insert(offset);
                    }
                    pass.pass(offset, replays);
                }
                map = pass.map();
                let settled: BTreeSet<u64> = (0..12).filter(|at| map.is_settled(*at)).collect();
                prop_assert_eq!(&settled, &model);
            }
        }
    }
}
