//! The backend contract: everything an adapter implements, on one screen.
//!
//! A [`Backend`] is an open connection. From it the runtime takes, per route,
//! - a [`Source`] (owned, poll-style: assignment events, and batches apart from them, so that back-pressure never hides
//!   a revocation) with its [`Control`] (shared: commit, release, pause, resume, close);
//! - a [`Publisher`] (confirmed and pipelined; per message ok, failed or *unknown*);
//! - a [`Reader`] outside any group (takeover, tiers, replay, dead-letter listing, tail);
//! - an [`Admin`] (topics, partitions, groups, positions);
//! - [`Transactions`] of a member, where the [`Capability`] says so.
//!
//! The contract is batch-oriented: one dynamic call per batch, none per message. The runtime tracks which messages are
//! settled; no adapter does. An adapter never imports another.

mod admin;
mod capability;
mod confirmed;
mod connection;
mod control;
mod exclusive;
#[cfg(test)]
mod face;
mod murmur2;
mod partitioner;
mod publisher;
mod reader;
mod registry;
mod source;
mod transaction;

pub use admin::{Admin, GroupDescription, OffsetRange, Retention, TopicDescription, TopicSpec};
pub use capability::{
    Capability, History, KeyOrder, Ownership, Partitioning, PositionStore, Transactional,
};
pub(crate) use confirmed::commit_confirmed;
pub use connection::Connection;
pub use control::{CommitOutcome, Control, Progress};
pub(crate) use exclusive::{Exclusive, NewPosition};
#[cfg(test)]
pub(crate) use face::{ControlFace, Face, SourceFace};
pub use murmur2::{murmur2, partition_for_key};
pub use partitioner::{Partitioner, partition_by};
pub use publisher::{PublishOutcome, PublishRecord, Published, Publisher};
pub use reader::{ReadBatch, Reader};
pub use registry::{
    BackendFactory, BackendOptions, Registry, SettingCheck, SettingList, WrongSetting,
};
pub(crate) use registry::{safe_url, shown_url};
pub use source::{AssignmentEvent, Batch, BatchLimits, Granted, Record, Source, Subscription};
pub use transaction::{TransactionOutcome, Transactions};

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::error::Result;

/// A boxed future: the one dynamic call per batch.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// One membership of a consumer group: the half that one task owns, and the half that is shared.
pub type Membership = (Box<dyn Source>, Arc<dyn Control>);

/// An open connection to a broker.
pub trait Backend: std::fmt::Debug + Send + Sync + 'static {
    /// What this backend can keep. Plain data; start-up compares it with what the configuration asks for.
    fn capability(&self) -> Capability;

    /// Joins a consumer group for one topic.
    ///
    /// # Errors
    /// Unknown topic, refused group, unreachable broker.
    fn subscribe(&self, subscription: Subscription) -> BoxFuture<'_, Result<Membership>>;

    /// A publisher; all of them may share one connection.
    fn publisher(&self) -> Arc<dyn Publisher>;

    /// The same connection, whose publishers ask this partitioner where a key goes; the connection itself goes on as it was.
    /// Whoever honours it declares so ([`Partitioning::Custom`]); the default refuses, so that a partitioner is never passed
    /// over in silence.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`](crate::error::ErrorKind::Unsupported) when this backend honours none; what a new publisher
    /// needs and cannot have.
    fn partitioned_by(&self, _partitioner: Arc<dyn Partitioner>) -> Result<Arc<dyn Backend>> {
        Err(partitioner::refused())
    }

    /// A reader outside any group.
    ///
    /// # Errors
    /// Unreachable broker.
    fn reader(&self) -> BoxFuture<'_, Result<Box<dyn Reader>>>;

    /// Topics, groups, positions.
    fn admin(&self) -> Arc<dyn Admin>;

    /// Flushes and closes. Afterwards every call answers [`ErrorKind::Closed`](crate::error::ErrorKind::Closed).
    ///
    /// # Errors
    /// What was published before could not be flushed. It is closed all the same.
    fn close(&self) -> BoxFuture<'_, Result<()>>;
}
