//! The handle of a log, and the state all its parts share.
//!
//! Lock order: groups, then positions; topics, then one topic. Nothing is awaited under a lock.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;

use super::admin::LogAdmin;
use super::group::{Groups, Inbox};
use super::health::Health;
use super::lock;
use super::memory::MemoryPartition;
use super::options::LogOptions;
use super::positions::{PositionKey, Positions};
use super::publisher::LogPublisher;
use super::reader::LogReader;
use super::retention::Retention;
use super::source::{LogControl, LogSource, Seat};
use super::topic::{MAX_NAME_BYTES, Partition, Topic, check_name, no_such_topic};
use crate::backend::{
    Admin, Backend, BoxFuture, Capability, CommitOutcome, Control, History, KeyOrder, Membership,
    Ownership, PositionStore, Publisher, Reader, Subscription, TopicSpec,
};
use crate::error::{Error, ErrorKind, Result};

/// A log: cheap to clone, all clones are the same log. It lives as long as any clone, source, reader or publisher.
///
/// Beside [`Backend`] it has what a test or an operator does to a broker: deleting topics, taking partitions away,
/// applying retention.
#[derive(Clone, Debug)]
pub struct LogBroker {
    pub(super) shared: Arc<Shared>,
}

/// The state all parts share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) options: LogOptions,
    pub(super) identity: String,
    pub(super) health: Health,
    pub(super) topics: Mutex<BTreeMap<Arc<str>, Arc<Topic>>>,
    pub(super) groups: Mutex<Groups>,
    pub(super) positions: Mutex<Positions>,
    rng: Mutex<fastrand::Rng>,
}

impl LogBroker {
    /// A log in memory, gone with its last handle.
    #[must_use]
    pub fn memory(options: LogOptions) -> Self {
        let mut rng = options.rng();
        let identity = random_identity(&mut rng);
        // Grants of different logs differ too, so that a mix-up shows.
        let first = u64::from(rng.u32(..)) << 24;
        Self {
            shared: Arc::new(Shared {
                options,
                identity,
                health: Health::default(),
                topics: Mutex::default(),
                groups: Mutex::new(Groups::new(first)),
                positions: Mutex::default(),
                rng: Mutex::new(rng),
            }),
        }
    }

    /// Opens a log in a directory, made when it does not exist.
    ///
    /// # Errors
    /// Not there yet.
    pub fn open(path: impl AsRef<std::path::Path>, options: LogOptions) -> Result<Self> {
        options.check()?;
        Err(Error::new(
            ErrorKind::Unsupported,
            "open log",
            "no directory storage yet",
        )
        .with("path", path.as_ref().display()))
    }

    /// Deletes a topic with its records. Positions in it stay: they tell that it was recreated.
    ///
    /// # Errors
    /// Unknown topic, closed log.
    pub fn delete_topic(&self, name: &str) -> Result<()> {
        let topic = self.shared.topic("delete topic", name)?;
        lock(&self.shared.topics).remove(name);
        topic.delete();
        Ok(())
    }

    /// Removes a stored position record, as its expiry would.
    ///
    /// # Errors
    /// Closed log.
    pub fn forget_position(&self, group: &str, topic: &str, partition: u32) -> Result<()> {
        self.shared.health.check("forget position")?;
        let key = PositionKey {
            group: group.into(),
            topic: topic.into(),
            partition,
        };
        lock(&self.shared.positions).put(key, None);
        Ok(())
    }

    /// Removes the segments that retention lets go, in every topic. It also happens whenever a segment begins.
    ///
    /// # Errors
    /// Closed log.
    pub fn apply_retention(&self) -> Result<()> {
        self.shared.health.check("apply retention")?;
        let topics: Vec<_> = lock(&self.shared.topics).values().cloned().collect();
        for topic in topics {
            let retention = self.shared.retention(&topic);
            topic.with(|partitions| {
                for partition in partitions {
                    match partition {
                        Partition::Memory(memory) => memory.apply(&retention),
                    }
                }
            });
        }
        Ok(())
    }

    /// Takes partitions from the member of a group without asking, as a session timeout would: it hears
    /// [`Lost`](crate::backend::AssignmentEvent::Lost) and its commits are fenced. False when there is no member.
    pub fn lose(&self, group: &str, topic: &str, partitions: &[u32]) -> bool {
        lock(&self.shared.groups).lose(group, topic, partitions)
    }

    /// Asks the member of a group for partitions, as a rebalance would. False when there is no member.
    pub fn revoke(&self, group: &str, topic: &str, partitions: &[u32], within: Duration) -> bool {
        lock(&self.shared.groups).revoke(group, topic, partitions, within)
    }

    /// Gives the member of a group partitions back that were lost or released, under new grants. False when there is
    /// no member.
    pub fn reassign(&self, group: &str, topic: &str, partitions: &[u32]) -> bool {
        lock(&self.shared.groups).reassign(group, topic, partitions)
    }
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
                    retention: None,
                }),
            found => found,
        }
    }

    /// Creates a topic, or gives the one that exists with as many partitions.
    pub(super) fn create_topic(&self, spec: &TopicSpec) -> Result<Arc<Topic>> {
        self.health.check("create topic")?;
        check_name(&spec.name)?;
        if spec.partitions == 0 {
            return Err(
                Error::new(ErrorKind::Invalid, "create topic", "no partitions")
                    .with("topic", &spec.name)
                    .remedy("A topic has at least 1 partition"),
            );
        }
        let mut topics = lock(&self.topics);
        if let Some(topic) = topics.get(&*spec.name) {
            return same_shape(topic, spec);
        }
        let identity = random_identity(&mut lock(&self.rng));
        let partitions = (0..spec.partitions)
            .map(|_| Partition::Memory(MemoryPartition::new(self.options.segment_bytes)))
            .collect();
        let name: Arc<str> = spec.name.as_str().into();
        let retention = spec.retention.or(self.options.retention);
        let topic = Arc::new(Topic::new(
            Arc::clone(&name),
            identity,
            retention,
            partitions,
        ));
        topics.insert(name, Arc::clone(&topic));
        Ok(topic)
    }

    /// The limits of a topic, now.
    pub(super) fn retention(&self, topic: &Topic) -> Retention {
        Retention {
            age: topic.retention,
            bytes: self.options.retention_bytes,
            now: self.options.clock.now(),
        }
    }

    /// Stores position records of a member, each under its grant.
    pub(super) fn commit(
        &self,
        of: &Subscription,
        member: u64,
        entries: Vec<(PositionKey, u64, Bytes)>,
    ) -> BoxFuture<'static, Vec<CommitOutcome>> {
        let groups = lock(&self.groups);
        let mut positions = lock(&self.positions);
        let store = |(key, grant, record): (PositionKey, u64, Bytes)| {
            if let Err(error) = self.health.check("commit") {
                return CommitOutcome::Failed(error);
            }
            if groups.grant(of, member, key.partition) != Some(grant) {
                return CommitOutcome::Fenced;
            }
            positions.put(key, Some(record));
            CommitOutcome::Committed
        };
        let outcomes: Vec<_> = entries.into_iter().map(store).collect();
        Box::pin(std::future::ready(outcomes))
    }
}

impl Backend for LogBroker {
    fn capability(&self) -> Capability {
        let mut capability = Capability::minimal();
        capability.key_order = KeyOrder::Log;
        capability.position = PositionStore::Record {
            max_bytes: usize::MAX,
        };
        capability.ownership = Ownership::SingleMember;
        capability.history = History::Retained;
        capability.max_record_bytes = self.shared.options.max_record_bytes;
        capability.max_topic_bytes = MAX_NAME_BYTES;
        capability
    }

    fn subscribe(&self, subscription: Subscription) -> BoxFuture<'_, Result<Membership>> {
        let join = || {
            let topic = self
                .shared
                .topic_or_create("subscribe", &subscription.topic)?;
            let inbox = Arc::new(Inbox::default());
            let id = lock(&self.shared.groups).join(
                &subscription,
                topic.partitions,
                Arc::clone(&inbox),
            )?;
            let seat = Arc::new(Seat {
                shared: Arc::clone(&self.shared),
                subscription: subscription.clone(),
                id,
                inbox,
            });
            let control: Arc<dyn Control> = Arc::new(LogControl {
                seat: Arc::clone(&seat),
            });
            Ok((Box::new(LogSource::new(seat, topic)) as _, control))
        };
        let membership = join();
        Box::pin(std::future::ready(membership))
    }

    fn publisher(&self) -> Arc<dyn Publisher> {
        Arc::new(LogPublisher {
            shared: Arc::clone(&self.shared),
        })
    }

    fn reader(&self) -> BoxFuture<'_, Result<Box<dyn Reader>>> {
        let reader = self.shared.health.check("open reader").map(|()| {
            let reader: Box<dyn Reader> = Box::new(LogReader::new(Arc::clone(&self.shared)));
            reader
        });
        Box::pin(std::future::ready(reader))
    }

    fn admin(&self) -> Arc<dyn Admin> {
        Arc::new(LogAdmin {
            shared: Arc::clone(&self.shared),
        })
    }

    fn close(&self) -> BoxFuture<'_, Result<()>> {
        let closed = "the log was closed".to_owned();
        self.shared.health.fail(ErrorKind::Closed, closed);
        Box::pin(std::future::ready(Ok(())))
    }
}

fn same_shape(topic: &Arc<Topic>, spec: &TopicSpec) -> Result<Arc<Topic>> {
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
