//! The consuming half that is shared: progress, flow control, close.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::{BoxFuture, Granted, Transactions};
use crate::error::{Error, ErrorKind, Result};

/// Progress of one partition: one atomic value, accepted from the current owner only.
#[derive(Clone, Debug)]
pub struct Progress {
    /// The source partition.
    pub partition: u32,
    /// The grant under which it is owned.
    pub grant: u64,
    /// Every offset below is settled.
    pub watermark: u64,
    /// The encoded position record; stored whole or not at all.
    pub record: Bytes,
}

/// What became of one partition's progress.
#[derive(Debug)]
pub enum CommitOutcome {
    /// Stored, durably.
    Committed,
    /// Refused: the partition has another owner.
    Fenced,
    /// Not stored; it may be tried again.
    Failed(Error),
    /// No answer: it may or may not be stored.
    Unknown(Error),
}

impl CommitOutcome {
    /// The outcomes of a commit, and of what a backend left out that nothing is known. Endless: to be zipped with the entries.
    pub(crate) fn of_each(outcomes: Vec<Self>) -> impl Iterator<Item = Self> {
        outcomes.into_iter().chain(std::iter::repeat_with(|| {
            Self::Unknown(Error::new(
                ErrorKind::Unexpected,
                "commit",
                "the backend gave no outcome for the partition",
            ))
        }))
    }
}

/// Progress, flow control and close of one group member.
pub trait Control: std::fmt::Debug + Send + Sync + 'static {
    /// The encoded position record of a partition owned under `grant`, if there is one.
    ///
    /// # Errors
    /// [`ErrorKind::PositionLost`]: there was one and it has expired, where a backend knows. [`ErrorKind::Fenced`]: the
    /// partition has another owner.
    fn position(&self, partition: u32, grant: u64) -> BoxFuture<'_, Result<Option<Bytes>>>;

    /// Stores progress; one outcome per entry, in order.
    fn commit(&self, progress: Vec<Progress>) -> BoxFuture<'_, Vec<CommitOutcome>>;

    /// Transactions over what this member publishes and its progress; `None` unless its subscription asked for them.
    fn transactions(&self) -> Option<Arc<dyn Transactions>> {
        None
    }

    /// Gives up partitions that are being revoked, after their last commit was answered. Each names its grant, for a release may
    /// arrive late: when the partition was lost meanwhile, and given again, it must not give that ownership away.
    ///
    /// # Errors
    /// No answer: the group notices by itself, at the latest when the session has expired.
    fn release(&self, given_up: Vec<Granted>) -> BoxFuture<'_, Result<()>>;

    /// Stops handing over batches of this partition; what it fetched ahead stays bounded.
    fn pause(&self, partition: u32);

    /// Hands over batches of this partition, from `from` when given, else from where it stopped.
    fn resume(&self, partition: u32, from: Option<u64>);

    /// Leaves the group within `deadline`. Nothing is committed by it.
    ///
    /// # Errors
    /// It did not leave in time; the group notices when the session has expired.
    fn close(&self, deadline: Duration) -> BoxFuture<'_, Result<()>>;
}
