//! The handle of a log: opening it, and what a test or an operator does to it.
//!
//! Everything it decides is decided in `shared` and the parts; this file wires them.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::oneshot;

use super::admin::LogAdmin;
use super::directory::{Directory, salt};
use super::disk::file_error;
use super::group::{Groups, Inbox};
use super::health::Health;
use super::journal::Journal;
use super::lock;
use super::lock_file::LockFile;
use super::look::look;
use super::options::{DamagedTail, Fsync, LogOptions};
use super::positions::PositionKey;
use super::publisher::LogPublisher;
use super::reader::LogReader;
use super::shared::{Shared, Storage, random_identity};
use super::source::{LogControl, LogSource, Seat};
use super::topic::{MAX_NAME_BYTES, Partition, no_such_topic};
use super::writer::{Desk, Done, Order, Writer};
use crate::backend::{
    Admin, Backend, BoxFuture, Capability, Control, History, KeyOrder, Membership, Ownership,
    Partitioner, Partitioning, PositionStore, Publisher, Reader, Subscription,
};
use crate::error::{Error, ErrorKind, Result};

/// A log: cheap to clone, all clones are the same log. It lives as long as any clone, source, reader or publisher.
///
/// Beside [`Backend`] it has what a test or an operator does to a broker: deleting topics, taking partitions away,
/// applying retention.
#[derive(Clone, Debug)]
pub struct LogBroker {
    pub(super) shared: Arc<Shared>,
    /// Whom the publishers of this handle ask about keys; murmur2 without.
    partitioner: Option<Arc<dyn Partitioner>>,
}

impl LogBroker {
    /// A log in memory, gone with its last handle.
    #[must_use]
    pub fn memory(options: LogOptions) -> Self {
        let mut rng = options.rng(0);
        let identity = random_identity(&mut rng);
        // Grants of different logs differ too, so that a mix-up shows.
        let first = u64::from(rng.u32(..)) << 24;
        let rules = options.group_rules();
        Self {
            shared: Arc::new(Shared {
                options,
                identity,
                health: Arc::default(),
                topics: Mutex::default(),
                groups: Mutex::new(Groups::new(rules, first)),
                positions: Arc::default(),
                rng: Mutex::new(rng),
                storage: None,
            }),
            partitioner: None,
        }
    }

    /// Opens the log in a directory, made when it does not exist. Reads and checks files on this thread; opening a log
    /// of 1 GiB takes a second or so.
    ///
    /// # Errors
    /// `Fenced` when another process has it open, `Corrupt` when confirmed records are damaged (names file and byte) or
    /// a file that all depends on is missing, `Invalid` for a path that is no directory or holds something else, `Denied`
    /// without the right to read and write there, `Unsupported` for a format of a later release.
    pub fn open(path: impl AsRef<Path>, options: LogOptions) -> Result<Self> {
        options.check()?;
        look(path.as_ref())?;
        let directory = Directory::make(path.as_ref(), Arc::clone(&options.disk))?;
        let lock = LockFile::acquire(path.as_ref())?;
        let mut log = directory.begin(|| random_identity(&mut options.rng(0)))?;
        let (journal, salt) = (directory.positions(), salt(&log.identity, 0));
        let said = Journal::read(&*options.disk, &journal, salt, options.on_damaged_tail)?;
        if said.is_none() && log.positions {
            if options.on_damaged_tail == DamagedTail::Refuse {
                return Err(directory.positions_lost());
            }
            tracing::warn!(file = %journal.display(), "the positions of the groups were missing and are begun anew");
        }
        let (positions, ends) = said.unwrap_or_default();
        let topics = directory.topics(&options, &ends)?;
        let ends = ends.found(topics.values(), options.fsync == Fsync::Group);
        let disk = Arc::clone(&options.disk);
        let journal = Journal::begin(disk, journal, salt, &positions, ends)?;
        directory.note_positions(&mut log)?;
        let health = Arc::new(Health::default());
        let positions = Arc::new(Mutex::new(positions));
        let writer = Writer::start(Desk {
            disk: Arc::clone(&options.disk),
            directory: directory.clone(),
            journal,
            _lock: lock,
            health: Arc::clone(&health),
            positions: Arc::clone(&positions),
            fsync: options.fsync,
            segment_bytes: options.segment_bytes,
        })
        .map_err(|error| {
            Error::new(
                ErrorKind::Unexpected,
                "open log",
                "no thread for its writer",
            )
            .source_error(error)
        })?;
        let rng = options.rng(log.opened);
        let rules = options.group_rules();
        Ok(Self {
            shared: Arc::new(Shared {
                options,
                identity: log.identity,
                health,
                topics: Mutex::new(topics),
                groups: Mutex::new(Groups::new(rules, log.opened << 32)),
                positions,
                rng: Mutex::new(rng),
                storage: Some(Storage { directory, writer }),
            }),
            partitioner: None,
        })
    }

    /// Deletes a topic with its records. Positions in it stay: they tell that it was recreated.
    ///
    /// # Errors
    /// Unknown topic, closed log, a directory that cannot be removed.
    pub async fn delete_topic(&self, name: &str) -> Result<()> {
        let topic = self.shared.topic("delete topic", name)?;
        if !topic.delete() {
            return Err(no_such_topic("delete topic", name));
        }
        if let Some(writer) = self.shared.writer() {
            let (waiter, answer) = oneshot::channel();
            writer.send(Order::Delete(Arc::clone(&topic), waiter));
            let gone = || self.shared.health.error("delete topic");
            answer.await.map_err(|_| gone())?.map_err(|error| {
                Error::new(
                    ErrorKind::Unexpected,
                    "delete topic",
                    "its files cannot be removed",
                )
                .with("topic", name)
                .source_error(error)
            })?;
        }
        // Only now may the name be used again: its directory is free.
        lock(&self.shared.topics).remove(name);
        Ok(())
    }

    /// Removes a stored position record, as its expiry would.
    ///
    /// # Errors
    /// Closed log.
    pub async fn forget_position(&self, group: &str, topic: &str, partition: u32) -> Result<()> {
        self.shared.health.check("forget position")?;
        let key = PositionKey {
            group: group.into(),
            topic: topic.into(),
            partition,
        };
        match self.shared.store(vec![(key, None)]).await {
            Done::Ok(()) => Ok(()),
            Done::Unknown | Done::Failed => Err(self.shared.health.error("forget position")),
        }
    }

    /// Removes the segments that retention lets go, in every topic. It also happens whenever a segment begins.
    ///
    /// # Errors
    /// Closed log, a file that cannot be removed.
    pub fn apply_retention(&self) -> Result<()> {
        self.shared.health.check("apply retention")?;
        let topics: Vec<_> = lock(&self.shared.topics).values().cloned().collect();
        for topic in topics {
            let retention = self.shared.retention(&topic);
            topic.with(|partitions| {
                for partition in partitions {
                    match partition {
                        Partition::Memory(memory) => memory.apply(&retention),
                        Partition::Disk(segments) => segments.apply(&retention),
                    }
                }
            });
            for partition in 0..topic.partitions {
                let swept = topic.sweep(partition);
                swept.map_err(|(file, error)| file_error(&file, error))?;
            }
        }
        Ok(())
    }

    /// Takes partitions from the members of a group without asking, as a session timeout would: they hear
    /// [`Lost`](crate::backend::AssignmentEvent::Lost) and their commits are fenced. False when there is no member.
    pub fn lose(&self, group: &str, topic: &str, partitions: &[u32]) -> bool {
        lock(&self.shared.groups).lose(group, topic, partitions)
    }

    /// Asks the members of a group for partitions, as a rebalance would; once released they are nobody's. False when there
    /// is no member.
    pub fn revoke(&self, group: &str, topic: &str, partitions: &[u32], within: Duration) -> bool {
        lock(&self.shared.groups).revoke(group, topic, partitions, within)
    }

    /// Gives partitions that were lost or released back to the members whose share they are, under new grants. False when
    /// there is no member.
    pub fn reassign(&self, group: &str, topic: &str, partitions: &[u32]) -> bool {
        lock(&self.shared.groups).reassign(group, topic, partitions)
    }

    /// How many rounds the group has been through, each of which shared its partitions out anew; `None` without members.
    #[must_use]
    pub fn generation(&self, group: &str, topic: &str) -> Option<u64> {
        lock(&self.shared.groups).generation(group, topic)
    }
}

impl Backend for LogBroker {
    fn capability(&self) -> Capability {
        let mut capability = Capability::minimal();
        capability.key_order = KeyOrder::Log;
        capability.position = PositionStore::Record {
            max_bytes: usize::MAX,
        };
        capability.ownership = Ownership::Shared;
        capability.history = History::Retained;
        capability.partitioning = Partitioning::Custom;
        capability.max_record_bytes = self.shared.options.max_record_bytes;
        capability.max_topic_bytes = MAX_NAME_BYTES;
        capability.durable = self.shared.storage.is_some();
        capability
    }

    fn subscribe(&self, subscription: Subscription) -> BoxFuture<'_, Result<Membership>> {
        let join = || {
            if subscription.group.is_empty() {
                // The journal keeps what is about no group under the empty name.
                return Err(
                    Error::new(ErrorKind::Invalid, "subscribe", "the group has no name")
                        .with("topic", &subscription.topic)
                        .remedy("Name the consumer group"),
                );
            }
            let topic = self
                .shared
                .topic_or_create("subscribe", &subscription.topic)?;
            let inbox = Arc::new(Inbox::default());
            let id = {
                let mut groups = lock(&self.shared.groups);
                self.shared.expire_positions(&groups, &subscription);
                groups.join(&subscription, &topic, Arc::clone(&inbox))?
            };
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
            partitioner: self.partitioner.clone(),
        })
    }

    fn partitioned_by(&self, partitioner: Arc<dyn Partitioner>) -> Result<Arc<dyn Backend>> {
        Ok(Arc::new(Self {
            shared: Arc::clone(&self.shared),
            partitioner: Some(partitioner),
        }))
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
        Box::pin(async move {
            let failed = self.shared.health.has_failed();
            self.shared.health.close();
            if let Some(writer) = self.shared.writer() {
                let (waiter, answer) = oneshot::channel();
                writer.send(Order::Stop(waiter));
                let _ = answer.await;
            }
            if !failed && self.shared.health.has_failed() {
                return Err(self.shared.health.error("close log"));
            }
            Ok(())
        })
    }
}
