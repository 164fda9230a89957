//! Transactions: publishes and progress that become visible together, for topic-to-topic exactly once.
//!
//! Optional: a backend without them returns `None` from [`Backend::transactions`](super::Backend::transactions), and a
//! route that asks for `delivery = "exactly_once"` on it is refused.

use super::{BoxFuture, Progress, PublishOutcome, PublishRecord};
use crate::error::{Error, Result};

/// How a transaction ended.
#[derive(Debug)]
pub enum TransactionOutcome {
    /// Everything in it is visible and durable.
    Committed,
    /// Nothing of it is.
    Aborted(Error),
    /// No answer. The producer is not to be used again; read the progress back to learn what happened.
    Unknown(Error),
}

/// Begins transactions.
pub trait Transactions: std::fmt::Debug + Send + Sync + 'static {
    /// Begins one under the given producer identity, fencing whoever held it before.
    ///
    /// # Errors
    /// Fenced, unreachable.
    fn begin<'a>(&'a self, producer: &'a str) -> BoxFuture<'a, Result<Box<dyn Transaction>>>;
}

/// An open transaction.
pub trait Transaction: Send {
    /// Publishes inside it; visible to read-committed readers only after the commit.
    fn publish(&mut self, records: Vec<PublishRecord>) -> BoxFuture<'_, Vec<PublishOutcome>>;

    /// Commits publishes and progress together.
    fn commit(self: Box<Self>, progress: Vec<Progress>) -> BoxFuture<'static, TransactionOutcome>;

    /// Gives up.
    fn abort(self: Box<Self>) -> BoxFuture<'static, Result<()>>;
}
