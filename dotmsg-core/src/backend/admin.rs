//! Topics, partitions, groups and positions.

use std::time::Duration;

use bytes::Bytes;

use super::BoxFuture;
use crate::error::Result;

/// How long a topic is to keep its records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Retention {
    /// As long as the backend keeps those of a topic that says nothing.
    #[default]
    AsBackend,
    /// For ever: neither age nor size removes a record.
    Forever,
    /// At least so long, whatever its size.
    For(Duration),
}

/// How a topic is to be created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSpec {
    /// Its name, as the broker will know it.
    pub name: String,
    /// Partitions, at least 1.
    pub partitions: u32,
    /// How long records are kept.
    pub retention: Retention,
}

/// What a topic is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicDescription {
    /// Its name.
    pub name: String,
    /// Partitions.
    pub partitions: u32,
    /// Identity that changes when the topic is recreated under the same name; empty where the backend has none.
    pub identity: String,
    /// Records older than this may be removed; `None`: none is for its age.
    pub retention: Option<Duration>,
    /// The oldest may be removed while a partition has more bytes than this; `None`: none is for its size.
    pub retention_bytes: Option<u64>,
}

impl TopicDescription {
    /// A description; for adapters.
    #[must_use]
    pub fn new(name: impl Into<String>, partitions: u32, identity: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            partitions,
            identity: identity.into(),
            retention: None,
            retention_bytes: None,
        }
    }

    /// Whether it keeps its records as long as is asked for.
    #[must_use]
    pub fn keeps(&self, asked: Retention) -> bool {
        let by_age = match asked {
            Retention::AsBackend => return true,
            Retention::Forever => self.retention.is_none(),
            Retention::For(least) => self.retention.is_none_or(|kept| kept >= least),
        };
        by_age && self.retention_bytes.is_none()
    }
}

/// The offsets a partition holds: `start..end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetRange {
    /// The first offset that can be read.
    pub start: u64,
    /// One past the last; the offset the next record gets.
    pub end: u64,
}

/// A consumer group and what it has positions in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupDescription {
    /// Its name.
    pub name: String,
    /// The topics it has a position record in.
    pub topics: Vec<String>,
}

/// Looks at and changes what a broker holds, outside any consumer group.
pub trait Admin: std::fmt::Debug + Send + Sync + 'static {
    /// Identity of the cluster or log; empty where the backend has none.
    ///
    /// # Errors
    /// The broker is away or does not answer, the rights do not suffice, the backend was closed: as every call here
    /// ([`ErrorKind`](crate::error::ErrorKind)).
    fn cluster(&self) -> BoxFuture<'_, Result<String>>;

    /// The topics whose names begin with `prefix`, by name; all with an empty one. A backend describes no others for it: a
    /// member that begins asks for its own among those of everybody else.
    ///
    /// # Errors
    /// As [`cluster`](Self::cluster).
    fn topics<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<TopicDescription>>>;

    /// One topic, `None` when it does not exist.
    ///
    /// # Errors
    /// As [`cluster`](Self::cluster).
    fn topic<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<TopicDescription>>>;

    /// Creates a topic; no error when it exists with as many partitions. Where the backend can, one that exists keeps its
    /// records from now on as the spec says, unless that is [`Retention::AsBackend`].
    ///
    /// # Errors
    /// It exists with another number of partitions (`AlreadyExists`); the name is none, or too long (`Invalid`); else as
    /// [`cluster`](Self::cluster).
    fn create_topic(&self, spec: TopicSpec) -> BoxFuture<'_, Result<()>>;

    /// The offsets a partition holds.
    ///
    /// # Errors
    /// There is no such topic (`NotFound`) or partition (`NotFound` or `Invalid`); else as [`cluster`](Self::cluster).
    fn offsets<'a>(&'a self, topic: &'a str, partition: u32) -> BoxFuture<'a, Result<OffsetRange>>;

    /// All groups that have a position.
    ///
    /// # Errors
    /// As [`cluster`](Self::cluster).
    fn groups(&self) -> BoxFuture<'_, Result<Vec<GroupDescription>>>;

    /// The encoded position records of a group in a topic, by partition.
    ///
    /// # Errors
    /// As [`cluster`](Self::cluster).
    fn positions<'a>(
        &'a self,
        group: &'a str,
        topic: &'a str,
    ) -> BoxFuture<'a, Result<Vec<(u32, Bytes)>>>;
}
