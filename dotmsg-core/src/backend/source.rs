//! The consuming half that is owned by one task: assignment events and batches.
//!
//! Both calls are poll-style: they allocate nothing and may be dropped at any point without losing a record.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::error::Result;
use crate::message::Message;

/// What to join: one topic as one member of a consumer group.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Subscription {
    /// The topic, as the broker knows it (prefix included).
    pub topic: Arc<str>,
    /// The consumer group.
    pub group: Arc<str>,
    /// The lasting name of a static member (KIP-345): who comes back with it within the session timeout gets its partitions
    /// back, and nobody else is disturbed. Of two members with one name the later stays, and the earlier is fenced for good.
    /// Default: none, and a member that goes gives its share away.
    pub instance: Option<Arc<str>>,
    /// To be alone in the group: refused while anybody is in it, and whoever comes later is refused, or tells this member
    /// so by revoking. Default: false.
    pub exclusive: bool,
    /// To have [`Transactions`](super::Transactions), of which each is open for about so long; a backend that would end them
    /// earlier refuses. Default: none.
    pub transactions: Option<Duration>,
}

impl Subscription {
    /// A dynamic member, beside others.
    #[must_use]
    pub fn new(topic: impl Into<Arc<str>>, group: impl Into<Arc<str>>) -> Self {
        Self {
            topic: topic.into(),
            group: group.into(),
            instance: None,
            exclusive: false,
            transactions: None,
        }
    }

    /// The same as a static member of this name.
    #[must_use]
    pub fn instance(mut self, instance: impl Into<Arc<str>>) -> Self {
        self.instance = Some(instance.into());
        self
    }

    /// The same, with transactions that are open for about so long.
    #[must_use]
    pub fn transactions(mut self, open_for: Duration) -> Self {
        self.transactions = Some(open_for);
        self
    }

    /// The same, alone or not at all.
    #[must_use]
    pub fn exclusive(mut self) -> Self {
        self.exclusive = true;
        self
    }
}

/// One record as the broker stored it.
#[derive(Clone, Debug)]
pub struct Record {
    /// Its offset in the partition.
    pub offset: u64,
    /// The adapter's own token for settling it (delivery tag, ack slot, row); 0 where offsets suffice.
    pub receipt: u64,
    /// Append time by the broker's clock.
    pub appended_at: Timestamp,
    /// The message.
    pub message: Message,
}

impl Record {
    /// Takes the record out, leaving one without a message in its place.
    #[must_use]
    pub fn take(&mut self) -> Self {
        Self {
            message: std::mem::take(&mut self.message),
            ..*self
        }
    }
}

/// Records of one partition, ascending as delivered. Reused from poll to poll, so that a batch costs no allocation.
#[derive(Debug, Default)]
pub struct Batch {
    /// The partition they are from.
    pub partition: u32,
    /// The grant under which they were read; the runtime drops a batch of an older grant.
    pub grant: u64,
    /// The records.
    pub records: Vec<Record>,
}

/// How much one poll may hand over.
#[derive(Clone, Copy, Debug)]
pub struct BatchLimits {
    /// Messages, at most.
    pub messages: usize,
    /// Bytes of keys, payloads and headers; at least one message is handed over whatever its size.
    pub bytes: usize,
}

/// A partition given to this member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Granted {
    /// The partition.
    pub partition: u32,
    /// The adapter's token for this period of ownership; it differs from every other period's.
    pub grant: u64,
}

/// What happens to the assignment. Partitions that are not named stay as they are.
#[derive(Clone, Debug)]
pub enum AssignmentEvent {
    /// These partitions are now owned. They arrive *paused*: no batch before [`Control::resume`](super::Control::resume).
    /// None of them when a rebalance gave this member nothing: whoever waits for its first assignment waits no longer.
    Assigned(Vec<Granted>),
    /// These partitions are to be given up: drain, then [`Control::release`](super::Control::release) within `within`.
    Revoking {
        /// The partitions.
        partitions: Vec<u32>,
        /// How long the backend waits for the release.
        within: Duration,
    },
    /// These partitions are gone already: nothing may be committed for them.
    Lost(Vec<u32>),
    /// What was to be read next of a partition is not in the log any more. No batches of it until it is resumed, which
    /// says from where. An adapter never goes on elsewhere by itself: what is skipped would be lost unheard of.
    ///
    /// Not for offsets that never held a record for a consumer, or hold none after compaction: such gaps are read over.
    /// One that is overtaken while it is paused is reported at the latest when it is resumed. (On Kafka:
    /// `OFFSET_OUT_OF_RANGE`, with `auto.offset.reset = "error"`.)
    OutOfRange {
        /// The partition.
        partition: u32,
        /// The grant under which it is owned; the runtime drops an event of an older one.
        grant: u64,
        /// The offset that was to be read next.
        position: u64,
        /// The first offset that the log holds. Above `position` when retention was faster than the reader; at or below
        /// it when the log was cut short.
        start: u64,
    },
}

/// Assignment events and batches of one group member.
pub trait Source: Send {
    /// The next assignment event. Polled also while the route is at its limits.
    ///
    /// # Errors
    /// The membership is over for good and ends its route: fenced by a later member of its name, closed, refused. What passes by
    /// itself (a broker that is away) is no error and is waited for.
    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<AssignmentEvent>>;

    /// The next records of one partition that is not paused, into `batch` (cleared first).
    ///
    /// # Errors
    /// As [`poll_event`](Self::poll_event); a record that is stored and cannot be read ([`ErrorKind::Corrupt`](crate::error::ErrorKind)).
    fn poll_batch(
        &mut self,
        cx: &mut Context<'_>,
        limits: BatchLimits,
        batch: &mut Batch,
    ) -> Poll<Result<()>>;
}
