//! Reading outside any group: takeover, tiers, replay, dead-letter listing, tail.
//!
//! One reader serves many partitions, because a client that fetches has its own threads and connections: a route needs
//! one reader for all its retry partitions (on Kafka: one consumer that `assign`s them).

use std::ops::Range;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::{BatchLimits, Record};
use crate::error::Result;

/// Records of one partition, ascending; reused from poll to poll.
#[derive(Debug, Default)]
pub struct ReadBatch {
    /// The topic they are from.
    pub topic: Option<Arc<str>>,
    /// The partition they are from.
    pub partition: u32,
    /// The records; none when there is only `removed` to tell.
    pub records: Vec<Record>,
    /// The offsets that were to be read next and are not in the log any more: the reader was too slow for retention, or
    /// was told to read from below the first record. Reading goes on behind them. Never for gaps of another kind.
    pub removed: Option<Range<u64>>,
}

/// Reads the partitions it is told to, from where it is told.
pub trait Reader: Send {
    /// Starts reading at `from`, also when the partition was assigned before: what was fetched of it is dropped.
    ///
    /// # Errors
    /// Unknown topic or partition.
    fn assign(&mut self, topic: &Arc<str>, partition: u32, from: u64) -> Result<()>;

    /// Stops reading it.
    fn unassign(&mut self, topic: &str, partition: u32);

    /// The next records of one assigned partition, into `batch` (cleared first); pending at the ends of all of them.
    ///
    /// # Errors
    /// A topic that is gone, a record that is stored and cannot be read, a closed backend. A broker that is away is waited for.
    fn poll_batch(
        &mut self,
        cx: &mut Context<'_>,
        limits: BatchLimits,
        batch: &mut ReadBatch,
    ) -> Poll<Result<()>>;
}
