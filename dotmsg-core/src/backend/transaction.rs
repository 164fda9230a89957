//! Transactions: publishes and progress of one member that become visible together, for topic-to-topic exactly once.
//!
//! Optional: a backend says in its [`Capability`](super::Capability) that it has them, takes
//! [`Subscription::transactional`](super::Subscription::transactional), and the member's
//! [`Control::transactions`](super::Control::transactions) gives them. A route that asks for `delivery = "exactly_once"` on a
//! backend without them is refused.

use super::{BoxFuture, Progress, PublishOutcome, PublishRecord};
use crate::error::{Error, Result};

/// How a transaction ended.
#[derive(Debug)]
pub enum TransactionOutcome {
    /// Everything in it is visible and durable.
    Committed,
    /// Nothing of it is, nor will be.
    Aborted(Error),
    /// No answer. [`Transactions::abort`] settles it; the position read after that says how.
    Unknown(Error),
}

/// The transactions of one member of a group: one at a time, which begins with the first call after the end of the one before.
pub trait Transactions: std::fmt::Debug + Send + Sync + 'static {
    /// Publishes in the open transaction; visible to read-committed readers only after its commit. One outcome each, in
    /// order; records of one partition are appended in the order of the calls. [`PublishOutcome::Ok`] says that the broker has
    /// the record. After any other outcome the transaction can only be aborted.
    fn publish(&self, records: Vec<PublishRecord>) -> BoxFuture<'_, Vec<PublishOutcome>>;

    /// Commits what was published, and the progress, together: all or nothing.
    ///
    /// Not before every publish has its outcome. Progress of a partition that the member does not own any more aborts all of it.
    fn commit(&self, progress: Vec<Progress>) -> BoxFuture<'_, TransactionOutcome>;

    /// Ends whatever is open without effect, or learns the end of a commit that was not answered. Afterwards nothing of an
    /// earlier transaction of this member can take effect any more, and a position that is read holds all that did.
    ///
    /// # Errors
    /// It is not known to have ended; to be tried again.
    fn abort(&self) -> BoxFuture<'_, Result<()>>;
}
