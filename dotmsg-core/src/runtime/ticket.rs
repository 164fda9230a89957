//! What travels with a message to the workers: enough to settle it, nothing more.

use std::sync::Arc;

use super::lanes::AwayName;
use crate::backend::Record;
use crate::delivery::Stream;
use crate::progress::Seq;

/// Where a message is to be settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settles {
    /// A record of the source partition, by its number in the tracker.
    Source(Seq),
    /// A record of the replay partition, by its number in the tracker.
    Replay(Seq),
    /// A named record of a tier.
    Tier {
        /// The tier's delay in milliseconds.
        delay_ms: u64,
    },
    /// Nothing: its progress was confirmed before it was dispatched (`at_most_once`).
    Nothing {
        /// It is a record of the replay partition.
        replay: bool,
    },
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
    /// The name of a record of a tier.
    pub(crate) fn away_name(&self) -> Option<AwayName> {
        let Settles::Tier { delay_ms } = self.settles else {
            return None;
        };
        Some(AwayName {
            delay_ms,
            offset: self.offset,
        })
    }

    /// The ticket of an empty slot.
    pub(crate) fn vacant() -> Self {
        Self {
            partition: u32::MAX,
            ownership: 0,
            settles: Settles::Nothing { replay: false },
            offset: 0,
            size: 0,
        }
    }
}

/// A message on its way to a worker.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) stream: Arc<Stream>,
    pub(crate) record: Record,
    pub(crate) ticket: Ticket,
    /// Set aside without a call of the handler, for this reason.
    pub(crate) condemned: Option<&'static str>,
}
