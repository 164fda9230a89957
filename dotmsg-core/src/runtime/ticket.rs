//! What travels with a message through the workers and back: enough to settle it, nothing more.

use crate::middleware::Outcome;
use crate::progress::Seq;

/// Where a message is to be settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settles {
    /// A record of the source partition, by its number in the tracker.
    Source(Seq),
    /// A record of the replay partition, by its number in the tracker.
    Replay(Seq),
    /// A named tier record.
    Tier {
        /// The tier's delay in milliseconds.
        delay_ms: u64,
        /// Its offset in the tier partition.
        offset: u64,
    },
    /// Nothing: progress passed it before it was dispatched (`at_most_once`).
    Nothing,
}

/// Which message this is to the pump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    /// Index of its partition.
    pub(crate) partition: u32,
    /// Which ownership of that index: reports of an earlier one are stale.
    pub(crate) ownership: u32,
    /// What its end settles.
    pub(crate) settles: Settles,
    /// Its offset where it was read.
    pub(crate) offset: u64,
    /// Its bytes, as the limits count them.
    pub(crate) size: u32,
}

impl Ticket {
    /// The ticket of an empty slot.
    pub(crate) fn vacant() -> Self {
        Self {
            partition: u32::MAX,
            ownership: 0,
            settles: Settles::Nothing,
            offset: 0,
            size: 0,
        }
    }
}

/// What a worker tells the pump.
#[derive(Clone, Debug)]
pub(crate) enum Report {
    /// A message has an outcome.
    Finished(Ticket, Outcome),
    /// Messages and bytes that began (or, negative, ceased) to wait behind an away head of a partition.
    Parked {
        partition: u32,
        ownership: u32,
        messages: i64,
        bytes: i64,
    },
    /// Nothing of a stopped partition runs any more.
    Drained { partition: u32, ownership: u32 },
}
