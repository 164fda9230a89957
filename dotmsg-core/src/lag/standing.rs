//! Where a group stands in one partition, and what that leaves to do of a log.

use crate::backend::OffsetRange;
use crate::progress::{Name, Origin, PositionRecord, ResumeMap};

/// What is settled of a partition, and who is away.
#[derive(Clone, Debug, Default)]
pub(crate) struct Standing {
    pub(crate) partition: u32,
    map: ResumeMap,
    heads: u64,
    /// The lowest source offset of an away head.
    oldest_head: Option<u64>,
    /// (`at_most_once`) Settled, dispatched, and not ended.
    early: u64,
}

impl Standing {
    pub(crate) fn new(
        partition: u32,
        map: ResumeMap,
        names: impl Iterator<Item = Name>,
        early: u64,
    ) -> Self {
        let mut standing = Self {
            partition,
            map,
            early,
            ..Self::default()
        };
        for name in names {
            standing.heads += 1;
            if let Origin::Source(offset) = name.origin {
                let lowest = standing.oldest_head.unwrap_or(offset);
                standing.oldest_head = Some(lowest.min(offset));
            }
        }
        standing
    }

    /// As a stored record says.
    pub(super) fn stored(partition: u32, record: PositionRecord) -> Self {
        Self::new(partition, record.source, record.names.iter(), 0)
    }

    /// Nothing is settled from `start` on.
    pub(super) fn none(partition: u32, start: u64) -> Self {
        Self::new(partition, ResumeMap::at(start), std::iter::empty(), 0)
    }

    pub(super) fn watermark(&self) -> u64 {
        self.map.watermark()
    }

    /// Heads that wait in tiers, or run once more.
    pub(super) fn away(&self) -> u64 {
        self.heads
    }

    /// Offsets of the log that nobody has settled. What retention removed is not behind, it is gone.
    pub(super) fn unsettled(&self, log: OffsetRange) -> u64 {
        self.map.unsettled_in(log.start..log.end)
    }

    /// Records behind: what is unsettled in the log, delivered or not, and what is settled there and has not ended.
    pub(super) fn behind(&self, log: OffsetRange) -> u64 {
        self.unsettled(log) + self.heads + self.early
    }

    /// The offset of the oldest record behind, as far as it came from the source.
    pub(super) fn oldest(&self, log: OffsetRange) -> Option<u64> {
        let mut runs = self.map.runs();
        let listed = runs.find(|run| run.end > log.start);
        let first = listed.map_or(self.map.end(), |run| run.start);
        let first = Some(first.max(log.start)).filter(|first| *first < log.end);
        first.into_iter().chain(self.oldest_head).min()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::progress::TierId;

    fn name(offset: u64, origin: Origin) -> Name {
        Name {
            tier: TierId(5_000),
            offset,
            origin,
        }
    }

    proptest! {
        /// A log of up to 60 records, each of them in one of three states; a map that ends anywhere.
        #[test]
        fn behind_is_what_a_walk_over_the_log_counts(
            states in prop::collection::vec(0u8..3, 60),
            end in 0u64..60,
            log in (0u64..60, 0u64..60),
            replays in 0u64..3,
            early in 0u64..5,
        ) {
            let log = OffsetRange { start: log.0.min(log.1), end: log.0.max(log.1) };
            let state = |wanted: u8| {
                let states = (0..end).zip(&states);
                states.filter(move |(_, one)| **one == wanted).map(|(offset, _)| offset)
            };
            let unsettled: BTreeSet<u64> = state(0).collect();
            let away: BTreeSet<u64> = state(1).collect();
            let map = ResumeMap::from_unsettled(end, end, unsettled.iter().copied());
            let heads = away.iter().map(|offset| name(*offset, Origin::Source(*offset)));
            let replayed = (0..replays).map(|offset| name(100 + offset, Origin::Replay(offset)));
            let standing = Standing::new(0, map, heads.chain(replayed), early);
            let waits = |offset: &u64| *offset >= end || unsettled.contains(offset);
            let open: Vec<u64> = (log.start..log.end).filter(waits).collect();
            prop_assert_eq!(standing.unsettled(log), open.len() as u64);
            prop_assert_eq!(standing.behind(log), open.len() as u64 + away.len() as u64 + replays + early);
            let oldest = open.first().into_iter().chain(away.first()).min();
            prop_assert_eq!(standing.oldest(log), oldest.copied());
        }
    }
}
