//! Publishing: confirmed, pipelined, with three outcomes per message.
//!
//! *Unknown* is not *failed* (Jepsen's `info`): the broker may have appended the message before its answer was lost.
//! Whoever repeats an unknown publish must be able to tolerate two copies; the message's id makes them recognisable.

use std::sync::Arc;
use std::time::Duration;

use super::BoxFuture;
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::message::Message;

/// A message on its way to a topic.
#[derive(Clone, Debug)]
pub struct PublishRecord {
    /// The topic, as the broker knows it.
    pub topic: Arc<str>,
    /// The partition; `None` lets the backend choose: by key where there is one (murmur2, or the
    /// [`Partitioner`](super::Partitioner) that was given), null keys are spread.
    pub partition: Option<u32>,
    /// The message.
    pub message: Message,
}

/// Where a confirmed message lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// The partition it went to.
    pub partition: u32,
    /// Its offset there.
    pub offset: u64,
    /// Append time by the broker's clock.
    pub appended_at: Timestamp,
    /// The broker recognised it as a repeat of a message it had.
    pub duplicate: bool,
}

/// What became of one message.
#[derive(Debug)]
pub enum PublishOutcome {
    /// Durable, here.
    Ok(Published),
    /// Not appended.
    Failed(Error),
    /// No answer: it may or may not have been appended.
    Unknown(Error),
}

impl PublishOutcome {
    /// Where the message lies, for who treats a failure and an unknown outcome alike.
    ///
    /// # Errors
    /// Not appended, or not known to be: an error that is transient may stand for a message that *was* appended.
    pub fn into_result(self) -> Result<Published> {
        match self {
            Self::Ok(published) => Ok(published),
            Self::Failed(error) | Self::Unknown(error) => Err(error),
        }
    }
}

/// Publishes to any topic of a backend.
pub trait Publisher: std::fmt::Debug + Send + Sync + 'static {
    /// Publishes records; one outcome each, in order. Records of one call that name one partition, or whose keys lead to it, are
    /// appended in their order; one without either goes anywhere. Calls may overlap.
    fn publish(&self, records: Vec<PublishRecord>) -> BoxFuture<'_, Vec<PublishOutcome>>;

    /// Waits until everything handed over before is confirmed or has failed, at most `deadline`.
    ///
    /// # Errors
    /// Not everything was answered by the deadline; which messages, the outcomes of their calls say.
    fn flush(&self, deadline: Duration) -> BoxFuture<'_, Result<()>>;
}
