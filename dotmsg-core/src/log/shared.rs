//! The state that all parts of a log share.
//!
//! Lock order: groups, then positions; topics, then one topic. Nothing is awaited under a lock.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::directory::Directory;
use super::group::Groups;
use super::health::Health;
use super::journal::Change;
use super::lock;
use super::memory::MemoryPartition;
use super::options::{LogOptions, MAX_PARTITIONS};
use super::positions::{PositionKey, Positions};
use super::retention::Retention;
use super::topic::{Partition, Topic, check_name, no_such_topic};
use super::writer::{Done, Order, Writer};
use crate::backend::{self, BoxFuture, CommitOutcome, Subscription, TopicSpec};
use crate::error::{Error, ErrorKind, Result, Retryability};

/// The state all parts share.
pub(super) struct Shared {
    pub(super) options: LogOptions,
    pub(super) identity: String,
    pub(super) health: Arc<Health>,
    pub(super) topics: Mutex<BTreeMap<Arc<str>, Arc<Topic>>>,
    pub(super) groups: Mutex<Groups>,
    pub(super) positions: Arc<Mutex<Positions>>,
    pub(super) rng: Mutex<fastrand::Rng>,
    /// `None` in memory.
    pub(super) storage: Option<Storage>,
}

impl fmt::Debug for Shared {
    /// Says which log this is, and nothing of what it holds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let directory = self.storage.as_ref().map(|storage| &storage.directory);
        f.debug_struct("Log")
            .field("identity", &self.identity)
            .field("directory", &directory)
            .finish_non_exhaustive()
    }
}

/// Where a log on disk is kept.
#[derive(Debug)]
pub(super) struct Storage {
    pub(super) directory: Directory,
    pub(super) writer: Writer,
}

impl Shared {
    /// The topic of this name.
    pub(super) fn topic(&self, operation: &'static str, name: &str) -> Result<Arc<Topic>> {
        self.health.check(operation)?;
        let topics = lock(&self.topics);
        let topic = topics.get(name).cloned();
        topic.ok_or_else(|| no_such_topic(operation, name))
    }

    /// The topic of this name, created when the options say so.
    pub(super) fn topic_or_create(
        &self,
        operation: &'static str,
        name: &str,
    ) -> Result<Arc<Topic>> {
        match self.topic(operation, name) {
            Err(error) if error.kind() == ErrorKind::NotFound && self.options.auto_create => self
                .create_topic(&TopicSpec {
                    name: name.to_owned(),
                    partitions: self.options.default_partitions,
                    retention: backend::Retention::AsBackend,
                }),
            found => found,
        }
    }

    /// Creates a topic, or gives the one that exists with as many partitions.
    pub(super) fn create_topic(&self, spec: &TopicSpec) -> Result<Arc<Topic>> {
        self.health.check("create topic")?;
        check_name(&spec.name)?;
        if !(1..=MAX_PARTITIONS).contains(&spec.partitions) {
            return Err(Error::new(
                ErrorKind::Invalid,
                "create topic",
                "impossible number of partitions",
            )
            .with("topic", &spec.name)
            .with("partitions", spec.partitions)
            .remedy(format!("A topic has 1 to {MAX_PARTITIONS} partitions")));
        }
        let mut topics = lock(&self.topics);
        if let Some(topic) = topics.get(&*spec.name) {
            let topic = same_shape(topic, spec)?;
            self.set_retention(&topic, spec.retention)?;
            return Ok(topic);
        }
        let identity = random_identity(&mut lock(&self.rng));
        let partitions = match &self.storage {
            None => (0..spec.partitions)
                .map(|_| Partition::Memory(MemoryPartition::new(self.options.segment_bytes)))
                .collect(),
            Some(storage) => storage.directory.create_topic(
                &spec.name,
                &identity,
                spec.partitions,
                spec.retention,
            )?,
        };
        let name: Arc<str> = spec.name.as_str().into();
        let topic = Arc::new(Topic::new(
            Arc::clone(&name),
            identity,
            spec.retention,
            self.options.limits(),
            partitions,
        ));
        topics.insert(name, Arc::clone(&topic));
        Ok(topic)
    }

    /// Has a topic keep its records so long from now on, durably, unless nothing is said.
    fn set_retention(&self, topic: &Topic, asked: backend::Retention) -> Result<()> {
        if asked == backend::Retention::AsBackend || asked == topic.retention() {
            return Ok(());
        }
        if let Some(storage) = &self.storage {
            storage.directory.describe_topic(
                &topic.name,
                &topic.identity,
                topic.partitions,
                asked,
            )?;
        }
        topic.set_retention(asked);
        Ok(())
    }

    /// The limits of a topic, now.
    pub(super) fn retention(&self, topic: &Topic) -> Retention {
        topic.limits().at(self.options.clock.now())
    }

    /// The writer of a log on disk.
    pub(super) fn writer(&self) -> Option<&Writer> {
        self.storage.as_ref().map(|storage| &storage.writer)
    }

    /// Waits until everything handed over before is durable.
    pub(super) async fn settle(&self, operation: &'static str) -> Result<()> {
        self.health.check(operation)?;
        if let Some(writer) = self.writer() {
            let (waiter, answer) = oneshot::channel();
            writer.send(Order::Barrier(waiter));
            if !matches!(answer.await, Ok(Done::Ok(()))) {
                return Err(self.health.error(operation));
            }
        }
        Ok(())
    }

    /// Hands position records over at once; the future waits until they are stored.
    pub(super) fn store(&self, changes: Vec<Change>) -> BoxFuture<'static, Done<()>> {
        let Some(writer) = self.writer() else {
            let mut positions = lock(&self.positions);
            for (key, record) in changes {
                positions.put(key, record);
            }
            return Box::pin(std::future::ready(Done::Ok(())));
        };
        let (waiter, answer) = oneshot::channel();
        let now = self.options.clock.now();
        writer.send(Order::Positions(changes, now, waiter));
        Box::pin(async move { answer.await.unwrap_or(Done::Unknown) })
    }

    /// Lets the positions of a group expire that nobody has been in for too long: the one moment at which anybody can tell is
    /// when somebody joins. They are handed over at once; whoever reads one waits for that.
    pub(super) fn expire_positions(&self, groups: &Groups, of: &Subscription) {
        let Some(retention) = self.options.position_retention else {
            return;
        };
        if groups.empty_for(of) > retention {
            let changes = lock(&self.positions).expire(&of.group, &of.topic);
            if changes.is_empty() {
                return;
            }
            tracing::warn!(group = %of.group, topic = %of.topic, positions = changes.len(), "the positions have expired");
            drop(self.store(changes));
        }
    }

    /// Stores position records of a member, each under its grant. They are checked and handed over under the groups'
    /// lock, so none is accepted after its owner has gone.
    pub(super) fn commit(
        &self,
        of: &Subscription,
        member: u64,
        entries: Vec<(PositionKey, u64, Bytes)>,
    ) -> BoxFuture<'_, Vec<CommitOutcome>> {
        if self.health.check("commit").is_err() {
            let failed = |_| CommitOutcome::Failed(self.health.error("commit"));
            let outcomes = entries.into_iter().map(failed).collect();
            return Box::pin(std::future::ready(outcomes));
        }
        let mut accepted = Vec::with_capacity(entries.len());
        let mut changes = Vec::with_capacity(entries.len());
        let mut groups = lock(&self.groups);
        groups.hear(of, member);
        for (key, grant, record) in entries {
            let current = groups.grant(of, member, key.partition) == Some(grant);
            accepted.push(current);
            if current {
                changes.push((key, Some(record)));
            }
        }
        let stored = if changes.is_empty() {
            Box::pin(std::future::ready(Done::Ok(())))
        } else {
            self.store(changes)
        };
        drop(groups);
        Box::pin(async move {
            let done = stored.await;
            let outcome = |accepted| match (accepted, &done) {
                (false, _) => CommitOutcome::Fenced,
                (true, Done::Ok(())) => CommitOutcome::Committed,
                (true, Done::Unknown) => CommitOutcome::Unknown(self.health.error("commit")),
                (true, Done::Failed) => CommitOutcome::Failed(self.health.error("commit")),
            };
            accepted.into_iter().map(outcome).collect()
        })
    }
}

fn same_shape(topic: &Arc<Topic>, spec: &TopicSpec) -> Result<Arc<Topic>> {
    if topic.check("create topic").is_err() {
        return Err(Error::new(
            ErrorKind::AlreadyExists,
            "create topic",
            "one of this name is being deleted",
        )
        .with("topic", &topic.name)
        .retryable(Retryability::Transient)
        .remedy("Wait until it is gone"));
    }
    if topic.partitions == spec.partitions {
        return Ok(Arc::clone(topic));
    }
    Err(Error::new(
        ErrorKind::AlreadyExists,
        "create topic",
        "it exists with another number of partitions",
    )
    .with("topic", &topic.name)
    .with("partitions", topic.partitions)
    .with("asked", spec.partitions)
    .remedy("Ask for as many as it has, or use another name"))
}

/// 128 random bits as hexadecimal text.
pub(super) fn random_identity(rng: &mut fastrand::Rng) -> String {
    format!("{:032x}", rng.u128(..))
}
